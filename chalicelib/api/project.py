"""Harbor's tag `project`: create, list, look at, change and delete projects."""

from __future__ import annotations

from typing import Any

from chalicelib.access import configuration, users
from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import permissions, visible_projects
from chalicelib.access.members import list_all as list_members
from chalicelib.access.memberships import roles_of
from chalicelib.access.roles import Permission, Role
from chalicelib.api import PREFIX, fields, project_metadata
from chalicelib.api.allowlist import content_of
from chalicelib.api.allowlist import to_json as allowlist_to_json
from chalicelib.api.errors import BadRequestError, NotFoundError
from chalicelib.api.guards import flag, require_account, require_project, require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page
from chalicelib.projects import allowlists, rules
from chalicelib.projects.records import Project
from chalicelib.projects.usage import Usage, usage
from chalicelib.registry.http import Response
from chalicelib.retention import policies
from chalicelib.storage.accounts import ADMINISTRATOR
from chalicelib.storage.allowlists import Allowlist
from chalicelib.storage.retentions import RETENTION_ID


@operation("POST", "/projects")
def create_project(call: Call) -> Response:
    """Every user may, unless only administrators are to, and is the project's admin then.

    Of a robot's project, the administrator is.
    """
    require_account(call.caller)
    if configuration.current().project_creation_restriction == "adminonly":
        require_system(call.caller, "project", "create")
    if call.caller.robot is not None:
        require_system(call.caller, "project", "create")
    owner = users.get(call.caller.number or ADMINISTRATOR)
    body = json_body(call.request)
    _refuse_unbuilt(body)
    allowlist = _allowlist(body)
    settings = project_metadata.settings_of(fields.mapping(body, "metadata"))
    public = settings.pop("public", None)
    created = rules.create(
        fields.text(body, "project_name"),
        owner.username,
        public=body.get("public") is True if public is None else public == "true",
        owner_number=owner.number,
        metadata=settings,
        actor=call.actor,
    )
    if allowlist is not None:
        allowlists.replace(created.project_id, *allowlist)
    by_name = flag(call.request, "x-resource-name-in-location")
    reference = created.name if by_name else str(created.project_id)
    return Response(201, {"Location": f"{PREFIX}/projects/{reference}"})


@operation("GET", "/projects")
def list_projects(call: Call) -> Response:
    query = call.request.query
    public = fields.query_boolean(query, "public")
    found = [
        project
        for project in visible_projects(call.caller)
        if query.get("name", "") in project.name
        and query.get("owner", project.owner) == project.owner
        and public in (None, project.public)
    ]
    part = page(call.request, found)
    counted = fields.query_boolean(query, "with_detail") is not False
    lists = allowlists.read_all(project.project_id for project in part.entries)
    shown = [_with_allowlist(to_json(each, call.caller, counted), lists[each.project_id]) for each in part.entries]
    return json_response(shown, headers=part.headers)


@operation("HEAD", "/projects")
def head_project(call: Call) -> Response:
    name = call.request.query.get("project_name")
    if not name:
        raise BadRequestError("project_name is required")
    if Permission("project", "read") not in permissions(call.caller, rules.get(name)):
        raise NotFoundError(f"project {name} not found")
    return Response(200)


@operation("GET", "/projects/{project_name_or_id}")
def get_project(call: Call) -> Response:
    project = require_project(call, "project", "read")
    shown = to_json(project, call.caller, counted=True)
    return json_response(_with_allowlist(shown, allowlists.read(project.project_id)))


@operation("PUT", "/projects/{project_name_or_id}")
def update_project(call: Call) -> Response:
    project = require_project(call, "project", "update")
    body = json_body(call.request)
    _refuse_unbuilt(body)
    allowlist = _allowlist(body)
    settings = {**project.metadata, **project_metadata.settings_of(fields.mapping(body, "metadata"))}
    public = settings.pop("public", None)
    is_public = project.public if public is None else public == "true"
    rules.update(project, public=is_public, metadata=settings, actor=call.actor)
    if allowlist is not None:
        allowlists.replace(project.project_id, *allowlist)
    return Response(200)


@operation("DELETE", "/projects/{project_name_or_id}")
def delete_project(call: Call) -> Response:
    project = require_project(call, "project", "delete")
    rules.delete(project, call.actor)
    if RETENTION_ID in project.metadata:
        policies.forget(int(project.metadata[RETENTION_ID]))
    return Response(200)


@operation("GET", "/projects/{project_name_or_id}/_deletable")
def get_project_deletable(call: Call) -> Response:
    project = require_project(call, "project", "delete")
    if rules.is_empty(project):
        return json_response({"deletable": True})
    return json_response({"deletable": False, "message": "the project contains repositories, can not be deleted"})


@operation("GET", "/projects/{project_name_or_id}/summary")
def get_project_summary(call: Call) -> Response:
    """As in Harbor, the members and the quota are told to who may list and read them."""
    project = require_project(call, "project", "read")
    allowed = permissions(call.caller, project)
    summary: dict[str, Any] = {"repo_count": project.repositories}
    if Permission("quota", "read") in allowed:
        summary |= _quota(usage([project]).get(project.project_id))
    if Permission("member", "list") in allowed:
        roles = [member.role for member in list_members(project)]
        summary |= {f"{role.name.lower()}_count": roles.count(role) for role in Role}
    return json_response(summary)


def _quota(found: Usage | None) -> dict[str, Any]:
    return {"quota": {"hard": {"storage": found.hard}, "used": {"storage": found.used}}} if found else {}


def _refuse_unbuilt(body: dict[str, Any]) -> None:
    """A limit that is asked for and not enforced would be a false promise."""
    if body.get("registry_id") is not None or body.get("storage_limit") not in (None, -1):
        raise BadRequestError("proxy cache projects and storage quotas are not supported")


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
        "repo_count": project.repositories if counted else 0,
        "current_user_role_id": _strongest(roles),
        "current_user_role_ids": sorted(int(role) for role in roles),
    }


_STRENGTH = (Role.PROJECT_ADMIN, Role.MAINTAINER, Role.DEVELOPER, Role.GUEST, Role.LIMITED_GUEST)


def _strongest(roles: set[int]) -> int:
    return next((int(role) for role in _STRENGTH if role in roles), 0)
