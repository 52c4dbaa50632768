"""Harbor's tag `robot`: accounts of machines, in a project or in the system."""

from __future__ import annotations

import re
from typing import Any

from chalicelib.access import robots
from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import permissions, permissions_nowhere, permits_in_system
from chalicelib.access.errors import NotFoundError
from chalicelib.access.roles import Permission
from chalicelib.access.store.robots import LOGIN_PREFIX, SYSTEM, Access, Grant, Robot
from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import refusal, require_account, require_in_project, require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page
from chalicelib.api.query import conditions, selection
from chalicelib.http import Request, Response
from chalicelib.projects import rules
from chalicelib.projects.errors import NotFoundError as ProjectNotFoundError
from chalicelib.projects.records import Project

_LEVELS = ("system", "project")
_FIELDS = (
    *("id", "name", "description", "duration", "disable", "expires_at"),
    *("creator_type", "creator_ref", "creation_time", "update_time"),
)
_PROJECT = re.compile(r"[0-9]{1,15}\Z", re.ASCII)


@operation("GET", "/robots")
def list_robots(call: Call) -> Response:
    """The robots of the system, or with `q=Level=project,ProjectID=<number>` those of a project."""
    require_account(call.caller)
    project_id = _listed(call.request)
    if not _may(call.caller, project_id, "list"):
        raise refusal(call.caller)
    chosen = selection(call.request, _FIELDS, _FIELDS)
    part = page(call.request, chosen.of(robots.list_all(project_id), _selectable))
    return json_response([_to_json(robot) for robot in part.entries], headers=part.headers)


@operation("POST", "/robots")
def create_robot(call: Call) -> Response:
    require_account(call.caller)
    body = json_body(call.request)
    settings = _settings(body)
    project = None
    if _level(body) == "project":
        project = _project(call.caller, settings)
        require_in_project(call.caller, project, "robot", "create")
    else:
        require_system(call.caller, "robot", "create")
    name, secret = fields.text(body, "name"), fields.text(body, "secret", "")
    robot, secret = robots.create(call.caller, project, name, secret, settings, call.actor)
    created = {
        "id": robot.number,
        "name": robot.login,
        "secret": secret,
        "creation_time": fields.time(robot.created),
        "expires_at": robot.expires,
    }
    return json_response(created, 201, {"Location": f"{call.request.path}/{robot.number}"})


@operation("GET", "/robots/{robot_id}")
def get_robot(call: Call) -> Response:
    return json_response(_to_json(_find(call, "read")))


@operation("PUT", "/robots/{robot_id}")
def update_robot(call: Call) -> Response:
    """Everything is set as the body says it; only a duration that is absent stays."""
    robot = _find(call, "update")
    body = json_body(call.request)
    settings = _settings(body)
    if (fields.text(body, "level"), fields.text(body, "name")) != (_level_of(robot), robot.login):
        raise BadRequestError("cannot update the level or name of robot")
    robots.update(call.caller, robot, settings, call.actor)
    return Response(200)


@operation("PATCH", "/robots/{robot_id}")
def refresh_secret(call: Call) -> Response:
    """A generated secret is shown, this once; of one that the client gives nothing is."""
    robot = _find(call, "update")
    given = fields.text(json_body(call.request), "secret", "")
    secret = robots.refresh_secret(robot, given, call.actor)
    return json_response({"secret": "" if given else secret})


@operation("DELETE", "/robots/{robot_id}")
def delete_robot(call: Call) -> Response:
    robots.delete(_find(call, "delete"), call.actor)
    return Response(200)


def _find(call: Call, action: str) -> Robot:
    """The robot that the path names. One that the caller may not see answers as one that is not there."""
    require_account(call.caller)
    number = fields.identifier(call.parameters, "robot_id")
    try:
        robot = robots.get(number)
    except NotFoundError:
        for asked in (action, "read"):  # for as long as a private project's takes
            _may(call.caller, rules.NO_NUMBER, asked)
        raise
    if _may(call.caller, robot.project_id, action):
        return robot
    if _may(call.caller, robot.project_id, "read"):
        raise refusal(call.caller)
    raise NotFoundError(f"robot {robot.number} not found")


def _may(caller: Caller, project_id: int, action: str) -> bool:
    permission = Permission("robot", action)
    if project_id == SYSTEM:
        return permits_in_system(caller, permission)
    try:
        return permission in permissions(caller, rules.get_by_id(project_id))
    except ProjectNotFoundError:
        return bool(permissions_nowhere(caller, project_id))


def _listed(request: Request) -> int:
    """The number of the project whose robots are asked for, or SYSTEM."""
    asked = conditions(request)
    level, project = asked.get("level", "system"), asked.get("projectid", "")
    if level == "system":
        return SYSTEM
    if level != "project" or not _PROJECT.match(project):
        raise BadRequestError("Level must be system, or project with a number as ProjectID")
    return int(project)


def _level(body: dict[str, Any]) -> str:
    level = fields.text(body, "level")
    if level not in _LEVELS:
        raise BadRequestError("level must be system or project")
    return level


def _project(caller: Caller, settings: robots.Settings) -> Project:
    """The project that a robot's permission names. Only the administrator is told that one is missing."""
    names = [grant.namespace for grant in settings.grants if grant.kind == "project"]
    if len(names) != 1 or not 1 <= len(names[0]) <= rules.NAME_LENGTH:
        raise BadRequestError("a robot of a project has one permission, which names the project")
    try:
        return rules.get(names[0])
    except ProjectNotFoundError:
        if caller.is_admin:
            raise
        permissions_nowhere(caller, names[0])
        raise refusal(caller) from None


def _settings(body: dict[str, Any]) -> robots.Settings:
    grants = [
        Grant(
            fields.text(permission, "kind"),
            fields.text(permission, "namespace"),
            SYSTEM,
            tuple(_access(each) for each in _objects(permission, "access")),
        )
        for permission in _objects(body, "permissions")
    ]
    duration = None if body.get("duration") is None else fields.number(body, "duration")
    disabled = fields.boolean(body, "disable", False)
    return robots.Settings(fields.text(body, "description", ""), duration, disabled, grants)


def _access(body: dict[str, Any]) -> Access:
    effect = fields.text(body, "effect", "") or "allow"
    return Access(fields.text(body, "resource"), fields.text(body, "action"), effect)


def _objects(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = body.get(name)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise BadRequestError(f"{name} must be a list of objects")
    return value


def _level_of(robot: Robot) -> str:
    return _LEVELS[robot.project_id != SYSTEM]


def _selectable(robot: Robot) -> dict[str, Any]:
    """What `q` and `sort` see of a robot. Harbor's clients ask for a name without its prefix."""
    return {
        "id": robot.number,
        "name": [robot.login.removeprefix(LOGIN_PREFIX), robot.login],
        "description": robot.description,
        "duration": robot.duration,
        "disable": robot.disabled,
        "expires_at": robot.expires,
        "creator_type": robot.creator_type,
        "creator_ref": robot.creator_number,
        "creation_time": fields.time(robot.created),
        "update_time": fields.time(robot.updated),
    }


def _to_json(robot: Robot) -> dict[str, Any]:
    """The swagger's Robot, without its secret: only a hash of it is known."""
    return {
        "id": robot.number,
        "name": robot.login,
        "description": robot.description,
        "level": _level_of(robot),
        "duration": robot.duration,
        "editable": True,
        "disable": robot.disabled,
        "expires_at": robot.expires,
        "permissions": [_permission(grant) for grant in robots.live_grants(robot)],
        "creator_type": robot.creator_type,
        "creator_ref": robot.creator_number,
        "creation_time": fields.time(robot.created),
        "update_time": fields.time(robot.updated),
    }


def _permission(grant: Grant) -> dict[str, Any]:
    access = [{"resource": each.resource, "action": each.action, "effect": each.effect} for each in grant.access]
    return {"kind": grant.kind, "namespace": grant.namespace, "access": access}
