"""Harbor's tag `permissions`: what robots can be given, for callers that may make some."""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib.access import robots
from chalicelib.access.authentication import Caller
from chalicelib.access.memberships import projects_of
from chalicelib.access.roles import Permission, Role
from chalicelib.api.guards import refusal
from chalicelib.api.operations import Call, json_response, operation
from chalicelib.http import Response
from chalicelib.projects.store import members


@operation("GET", "/permissions")
def get_permissions(call: Call) -> Response:
    caller = call.caller
    if not (caller.is_admin or _is_project_admin(caller)):
        raise refusal(caller)
    in_system = robots.IN_SYSTEM if caller.is_admin else ()
    return json_response({"system": _to_json(in_system), "project": _to_json(robots.IN_PROJECT)})


def _is_project_admin(caller: Caller) -> bool:
    projects = sorted(projects_of(caller.entities))
    return any(Role.PROJECT_ADMIN in members.read_roles(project, caller.entities) for project in projects)


def _to_json(permissions: Iterable[Permission]) -> list[dict[str, str]]:
    return [{"resource": each.resource, "action": each.action} for each in permissions]
