"""Harbor's tag `project`: create, list, look at, change and delete projects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from chalicelib import project_deletion
from chalicelib.access import configuration, users
from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import permissions, permissions_nowhere, permits_in_system
from chalicelib.access.members import list_all as list_members
from chalicelib.access.memberships import roles_of
from chalicelib.access.roles import Permission, Role
from chalicelib.access.visibility import Visibility, read_each, visibility_of
from chalicelib.api import PREFIX, fields, project_metadata
from chalicelib.api.allowlist import content_of
from chalicelib.api.allowlist import to_json as allowlist_to_json
from chalicelib.api.errors import BadRequestError, ForbiddenError, NotFoundError
from chalicelib.api.guards import flag, require_account, require_project, require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import Window, window
from chalicelib.api.query import Selection, selection
from chalicelib.api.registry import to_json as registry_to_json
from chalicelib.http import Response
from chalicelib.projects import allowlists, quotas, rules
from chalicelib.projects.errors import NotFoundError as ProjectNotFoundError
from chalicelib.projects.records import Project
from chalicelib.projects.store.allowlists import Allowlist
from chalicelib.projects.usage import Usage, usage
from chalicelib.proxycache.store import traffic
from chalicelib.retention import policies
from chalicelib.storage.tables.keys import ADMINISTRATOR
from chalicelib.upstreams import endpoints

_FIELDS = (
    *("project_id", "name", "public", "owner", "owner_name", "owner_id", "registry_id"),
    *("creation_time", "update_time", "repo_count"),
)

T = TypeVar("T")


@operation("POST", "/projects")
def create_project(call: Call) -> Response:
    """Every user may, unless only administrators are to, and is the project's admin then.

    Of a robot's project, the administrator is. `storage_limit` is for callers that may set quotas; others, and those
    that give none or 0, get the default limit. A proxy cache of an upstream registry is for system administrators to
    make (Harbor, src/server/v2.0/handler/project.go).
    """
    require_account(call.caller)
    if configuration.current().project_creation_restriction == "adminonly":
        require_system(call.caller, "project", "create")
    if call.caller.robot is not None:
        require_system(call.caller, "project", "create")
    owner = users.get(call.caller.number or ADMINISTRATOR)
    body = json_body(call.request)
    registry_id = _registry_id(call.caller, body)
    limit = _storage_limit(call.caller, body) or configuration.current().storage_per_project
    allowlist = _allowlist(body)
    settings = project_metadata.settings_of(fields.mapping(body, "metadata"))
    public = settings.pop("public", None)
    project_metadata.require_valid_filter(settings, is_proxy=bool(registry_id))
    created = rules.create(
        fields.text(body, "project_name"),
        owner.username,
        public=body.get("public") is True if public is None else public == "true",
        owner_number=owner.number,
        metadata=settings,
        storage_limit=limit,
        registry_id=registry_id,
        actor=call.actor,
    )
    if allowlist is not None:
        allowlists.replace(created.project_id, *allowlist)
    if created.is_proxy:
        policies.create_for_proxy_cache(created)
    by_name = flag(call.request, "x-resource-name-in-location")
    reference = created.name if by_name else str(created.project_id)
    return Response(201, {"Location": f"{PREFIX}/projects/{reference}"})


@operation("GET", "/projects")
def list_projects(call: Call) -> Response:
    """By name, or as `sort` says. Pages of that order, and of names that hold `name`, are read on their own."""
    query, asked = call.request.query, window(call.request)
    chosen = selection(call.request, _FIELDS, _FIELDS)
    visible, public = visibility_of(call.caller), fields.query_boolean(query, "public")
    counted = fields.query_boolean(query, "with_detail") is not False
    if chosen.tests or chosen.order or "owner" in query:
        part, total = _selected(call, visible, public, chosen)
    elif query.get("name"):
        names = [name for name in visible.names(public) if query["name"] in name]
        part, total = read_each(_slice(asked, names)), len(names)
    else:
        sums = visible.totals()
        part = visible.page(asked.start, asked.size, public)
        total = sum(sums[kind].projects for kind in sums if public in (None, kind))
    lists = allowlists.read_all(project.project_id for project in part)
    shown = [_with_allowlist(to_json(each, call.caller, counted), lists[each.project_id]) for each in part]
    return json_response(shown, headers=asked.headers(total))


def _selected(call: Call, visible: Visibility, public: bool | None, chosen: Selection) -> tuple[Sequence[Project], int]:
    """The page of what `q`, `sort` and `owner` select, and how many that is: all that the caller sees is read."""
    query, asked = call.request.query, window(call.request)
    found = [
        project
        for project in read_each(visible.names(public))
        if query.get("name", "") in project.name and query.get("owner", project.owner) == project.owner
    ]
    chosen_ones = chosen.of(found, _selectable)
    return _slice(asked, chosen_ones), len(chosen_ones)


def _slice(asked: Window, entries: Sequence[T]) -> Sequence[T]:
    return entries[asked.start : asked.start + asked.size]


def _selectable(project: Project) -> dict[str, Any]:
    """What `q` and `sort` see of a project."""
    return {
        "project_id": project.project_id,
        "name": project.name,
        "public": str(project.public).lower(),
        "owner": project.owner,
        "owner_name": project.owner,
        "owner_id": project.owner_number,
        "registry_id": project.registry_id,
        "creation_time": fields.time(project.created),
        "update_time": fields.time(project.updated),
        "repo_count": project.repositories,
    }


@operation("HEAD", "/projects")
def head_project(call: Call) -> Response:
    name = call.request.query.get("project_name")
    if not name:
        raise BadRequestError("project_name is required")
    try:
        allowed = permissions(call.caller, rules.get(name))
    except ProjectNotFoundError:
        allowed = permissions_nowhere(call.caller, name)
    if Permission("project", "read") not in allowed:
        raise NotFoundError(f"project {name} not found")
    return Response(200)


@operation("GET", "/projects/{project_name_or_id}")
def get_project(call: Call) -> Response:
    project = require_project(call, "project", "read")
    shown = to_json(project, call.caller, counted=True)
    return json_response(_with_allowlist(shown, allowlists.read(project.project_id)))


@operation("PUT", "/projects/{project_name_or_id}")
def update_project(call: Call) -> Response:
    """`storage_limit` counts only from callers that may set quotas."""
    project = require_project(call, "project", "update")
    body = json_body(call.request)
    if body.get("registry_id") not in (None, project.registry_id):
        raise BadRequestError("a project cannot become a proxy cache, or one of another registry")
    limit = _storage_limit(call.caller, body)
    allowlist = _allowlist(body)
    settings = {**project.metadata, **project_metadata.settings_of(fields.mapping(body, "metadata"))}
    public = settings.pop("public", None)
    project_metadata.require_valid_filter(settings, is_proxy=project.is_proxy)
    is_public = project.public if public is None else public == "true"
    rules.update(project, public=is_public, metadata=settings, actor=call.actor)
    if limit:
        quotas.set_limit(project.project_id, limit)
    if allowlist is not None:
        allowlists.replace(project.project_id, *allowlist)
    return Response(200)


@operation("DELETE", "/projects/{project_name_or_id}")
def delete_project(call: Call) -> Response:
    project = require_project(call, "project", "delete")
    project_deletion.delete(project, call.actor)
    return Response(200)


@operation("GET", "/projects/{project_name_or_id}/_deletable")
def get_project_deletable(call: Call) -> Response:
    project = require_project(call, "project", "delete")
    if rules.is_empty(project):
        return json_response({"deletable": True})
    return json_response({"deletable": False, "message": "the project contains repositories, can not be deleted"})


@operation("GET", "/projects/{project_name_or_id}/summary")
def get_project_summary(call: Call) -> Response:
    """As in Harbor, the members and the quota are shown to callers that may list and read them, and a proxy cache's
    registry to who sees the project, but for its credentials.
    """
    project = require_project(call, "project", "read")
    allowed = permissions(call.caller, project)
    summary: dict[str, Any] = {"repo_count": project.repositories}
    if Permission("quota", "read") in allowed:
        summary["quota"] = _quota(usage([project])[project.project_id])
    if Permission("member", "list") in allowed:
        roles = [member.role for member in list_members(project)]
        summary |= {f"{role.name.lower()}_count": roles.count(role) for role in Role}
    if project.is_proxy:
        shown = registry_to_json(endpoints.get(project.registry_id))
        summary["registry"] = {name: value for name, value in shown.items() if name != "credential"}
        summary["proxy_cache"] = _traffic(project)
    return json_response(summary)


def _traffic(project: Project) -> dict[str, int]:
    """What pulls through a proxy project came to: Berth's own, Harbor's summary has no such thing."""
    found = traffic.read(project.project_id)
    return {
        "hits": found.hits,
        "misses": found.misses,
        "upstream_requests": found.upstream_requests,
        "upstream_requests_saved": found.saved_requests,
        "bytes_saved": max(0, found.saved_bytes),
    }


def _quota(found: Usage) -> dict[str, Any]:
    return {"hard": {"storage": found.hard}, "used": {"storage": found.used}}


def _storage_limit(caller: Caller, body: dict[str, Any]) -> int:
    """The limit that is asked for, if the caller may set one, else 0. Raises BadRequestError or LimitInvalidError."""
    limit = fields.number(body, "storage_limit", 0)
    if limit and permits_in_system(caller, Permission("quota", "update")):
        return quotas.valid(limit)
    return 0


def _registry_id(caller: Caller, body: dict[str, Any]) -> int:
    """The upstream registry that a new project is to be a proxy cache of; 0 for none.

    Raises ForbiddenError or BadRequestError.
    """
    if body.get("registry_id") is None:
        return 0
    if not permits_in_system(caller, Permission("project", "create")):
        raise ForbiddenError("Only system admin can create proxy cache project")
    number = fields.number(body, "registry_id")
    if number <= 0:
        raise BadRequestError(f"{number} is invalid value of registry_id, it should be greater than 0")
    return number


def _allowlist(body: dict[str, Any]) -> tuple[list[str], int | None] | None:
    """The allowlist that a project is to have; None when it is not told."""
    return content_of(fields.mapping(body, "cve_allowlist")) if body.get("cve_allowlist") is not None else None


def _with_allowlist(shown: dict[str, Any], allowlist: Allowlist) -> dict[str, Any]:
    return {**shown, "cve_allowlist": allowlist_to_json(allowlist)}


def to_json(project: Project, caller: Caller, counted: bool) -> dict[str, Any]:
    """The swagger's Project."""
    roles = set(roles_of(caller.entities, project)) if caller.number else set()
    if caller.is_admin:
        roles.add(Role.PROJECT_ADMIN)
    return {
        "project_id": project.project_id,
        "name": project.name,
        "owner_id": project.owner_number,
        "owner_name": project.owner,
        "creation_time": fields.time(project.created),
        "update_time": fields.time(project.updated),
        "deleted": False,
        "metadata": project_metadata.of(project),
        **({"registry_id": project.registry_id} if project.is_proxy else {}),
        "repo_count": project.repositories if counted else 0,
        "current_user_role_id": _strongest(roles),
        "current_user_role_ids": sorted(int(role) for role in roles),
    }


_STRENGTH = (Role.PROJECT_ADMIN, Role.MAINTAINER, Role.DEVELOPER, Role.GUEST, Role.LIMITED_GUEST)


def _strongest(roles: set[int]) -> int:
    return next((int(role) for role in _STRENGTH if role in roles), 0)
