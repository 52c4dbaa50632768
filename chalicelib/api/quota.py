"""Harbor's tag `quota`: how much each project may store and does. A project's quota has the project's number."""

from __future__ import annotations

from typing import Any

from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError, NotFoundError
from chalicelib.api.guards import require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import WHOLE, page
from chalicelib.api.query import selection
from chalicelib.http import Response
from chalicelib.projects import quotas, rules
from chalicelib.projects.errors import NotFoundError as ProjectNotFoundError
from chalicelib.projects.records import UNLIMITED, Project
from chalicelib.projects.usage import Usage, usage

_REFERENCE = "project"
_STORAGE = "storage"
_HARD, _USED = f"hard.{_STORAGE}", f"used.{_STORAGE}"


@operation("GET", "/quotas")
def list_quotas(call: Call) -> Response:
    """By default the newest first. Usage is read of the page's projects alone, unless the list is sorted by it."""
    require_system(call.caller, "quota", "list")
    query = call.request.query
    asked = selection(call.request, (), (_HARD, _USED, "creation_time", "update_time"))
    found = [
        project
        for project in sorted(rules.list_all(), key=lambda each: -each.created)
        if query.get("reference") in (None, "", _REFERENCE)
        and query.get("reference_id") in (None, "", str(project.project_id))
    ]
    used = usage(found) if _USED in dict(asked.order) else {}

    def sortable(project: Project) -> dict[str, int]:
        limit = project.storage_limit
        return {
            _HARD: quotas.LIMIT + 1 if limit == UNLIMITED else limit,
            _USED: used[project.project_id].used if used else 0,
            "creation_time": project.created,
            "update_time": project.updated,
        }

    part = page(call.request, asked.of(found, sortable), WHOLE)
    used = used or usage(part.entries)
    return json_response([_to_json(each, used[each.project_id]) for each in part.entries], headers=part.headers)


@operation("GET", "/quotas/{id}")
def get_quota(call: Call) -> Response:
    require_system(call.caller, "quota", "read")
    project = _project(call)
    return json_response(_to_json(project, usage([project])[project.project_id]))


@operation("PUT", "/quotas/{id}")
def update_quota(call: Call) -> Response:
    require_system(call.caller, "quota", "update")
    project = _project(call)
    hard = fields.mapping(json_body(call.request), "hard")
    if not hard:
        raise BadRequestError("hard required in body")
    for name in hard:
        if name != _STORAGE:
            raise BadRequestError(f"resource {name[:64]} not support")
    quotas.set_limit(project.project_id, fields.number(hard, _STORAGE))
    return Response(200)


def _project(call: Call) -> Project:
    """The project whose quota the path names. Raises NotFoundError."""
    number = fields.identifier(call.parameters, "id")
    try:
        return rules.get_by_id(number)
    except ProjectNotFoundError as error:
        raise NotFoundError(f"quota {number} not found") from error


def _to_json(project: Project, found: Usage) -> dict[str, Any]:
    """The swagger's Quota."""
    return {
        "id": project.project_id,
        "ref": {"id": project.project_id, "name": project.name, "owner_name": project.owner},
        "hard": {_STORAGE: found.hard},
        "used": {_STORAGE: found.used},
        "creation_time": fields.time(project.created),
        "update_time": fields.time(project.updated),
    }
