"""Harbor's tag `project`: create, list, look at and delete projects."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import may_see
from chalicelib.api.errors import ApiError, BadRequestError, ForbiddenError, NotFoundError, UnauthorizedError
from chalicelib.api.operations import PREFIX, Call, json_body, json_response, operation
from chalicelib.api.paging import page
from chalicelib.projects import rules
from chalicelib.projects.errors import NotFoundError as ProjectNotFoundError
from chalicelib.projects.records import Project
from chalicelib.registry.http import Request, Response

_PROJECT_ADMIN_ROLE = 1
"""Harbor's number of the role that a system administrator has in every project."""


@operation("POST", "/projects")
def create_project(call: Call) -> Response:
    _require_admin(call.caller)
    body = json_body(call.request)
    name = body.get("project_name")
    if not isinstance(name, str):
        raise BadRequestError("project_name must be a string")
    created = rules.create(name, call.caller.name, public=_public(body))
    by_name = _flag(call.request, "x-resource-name-in-location")
    reference = created.name if by_name else str(created.project_id)
    return Response(201, {"Location": f"{PREFIX}/projects/{reference}"})


@operation("GET", "/projects")
def list_projects(call: Call) -> Response:
    query = call.request.query
    public = _boolean(query, "public")
    found = [
        project
        for project in rules.list_all()
        if may_see(call.caller, project)
        and query.get("name", "") in project.name
        and query.get("owner", project.owner) == project.owner
        and public in (None, project.public)
    ]
    part = page(call.request, found)
    counted = _boolean(query, "with_detail") is not False
    return json_response([_to_json(each, call.caller, counted) for each in part.entries], headers=part.headers)


@operation("HEAD", "/projects")
def head_project(call: Call) -> Response:
    name = call.request.query.get("project_name")
    if not name:
        raise BadRequestError("project_name is required")
    try:
        project = rules.get(name)
    except ProjectNotFoundError:
        project = None
    if project is None or not may_see(call.caller, project):
        raise NotFoundError(f"project {name} not found")
    return Response(200)


@operation("GET", "/projects/{project_name_or_id}")
def get_project(call: Call) -> Response:
    return json_response(_to_json(_find(call), call.caller, counted=True))


@operation("DELETE", "/projects/{project_name_or_id}")
def delete_project(call: Call) -> Response:
    _require_admin(call.caller)
    rules.delete(_find(call))
    return Response(200)


def _find(call: Call) -> Project:
    """The project that the path names, by number or by name as `X-Is-Resource-Name` says.

    Who may not see it gets what a missing one gets: Harbor's 401 for nobody, 403 for others; only who sees
    all projects is told that one is missing.
    """
    text = call.parameters["project_name_or_id"]
    is_id = text.isascii() and text.isdigit() and len(text) < 16 and not _flag(call.request, "x-is-resource-name")
    try:
        project = rules.get_by_id(int(text)) if is_id else rules.get(text)
    except ProjectNotFoundError:
        if call.caller.is_admin:
            raise
        raise _refusal(call.caller) from None
    if not may_see(call.caller, project):
        raise _refusal(call.caller)
    return project


def _require_admin(caller: Caller) -> None:
    if not caller.is_admin:
        raise _refusal(caller)


def _refusal(caller: Caller) -> ApiError:
    return UnauthorizedError("unauthorized") if caller.is_anonymous else ForbiddenError("forbidden")


def _public(body: Mapping[str, Any]) -> bool:
    """Whether a ProjectReq asks for a public project. Raises BadRequestError for settings that are not built.

    A policy that is asked for and not enforced would be a false promise, so only its being off is accepted.
    """
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise BadRequestError("metadata must be an object")
    for name, value in metadata.items():
        if value not in (None, "true", "false"):
            raise BadRequestError(f'metadata.{name} must be "true" or "false"')
        if name != "public" and value == "true":
            raise BadRequestError(f"metadata.{name} is not supported")
    if body.get("registry_id") is not None or body.get("storage_limit") not in (None, -1):
        raise BadRequestError("proxy cache projects and storage quotas are not supported")
    if "public" in metadata:
        return bool(metadata["public"] == "true")
    return body.get("public") is True


def _boolean(query: Mapping[str, str], name: str) -> bool | None:
    text = query.get(name)
    if text not in (None, "true", "false"):
        raise BadRequestError(f"{name} must be true or false")
    return None if text is None else text == "true"


def _flag(request: Request, header: str) -> bool:
    return request.headers.get(header, "").lower() == "true"


def _to_json(project: Project, caller: Caller, counted: bool) -> dict[str, Any]:
    """The swagger's Project."""
    roles = [_PROJECT_ADMIN_ROLE] if caller.is_admin else []
    return {
        "project_id": project.project_id,
        "name": project.name,
        "owner_name": project.owner,
        "creation_time": _time(project.created),
        "update_time": _time(project.updated),
        "deleted": False,
        "metadata": {"public": "true" if project.public else "false"},
        "repo_count": rules.count_repositories(project) if counted else 0,
        "current_user_role_id": roles[0] if roles else 0,
        "current_user_role_ids": roles,
    }


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
