"""Berth's own: refreshes of a proxy project, their history and their schedule. Harbor has no such thing.

The forms are those that Harbor's API has for its other jobs (`/system/gc`).
"""

from __future__ import annotations

from typing import Any

from chalicelib.api import PREFIX, fields
from chalicelib.api.errors import BadRequestError, NotFoundError
from chalicelib.api.guards import require_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page
from chalicelib.http import Response
from chalicelib.jobs import cron, executions
from chalicelib.jobs.errors import ExecutionNotFoundError
from chalicelib.jobs.records import Execution
from chalicelib.projects.records import Project
from chalicelib.proxycache import refreshes
from chalicelib.proxycache.refreshes import PROXY_REFRESH
from chalicelib.storage.conditions import now

_BASE = "/projects/{project_name_or_id}/refreshes"
_ONE = f"{_BASE}/{{refresh_id}}"
_SCHEDULE = f"{_BASE}/schedule"
_MANUAL, _NONE = "Manual", "None"


@operation("GET", _BASE, is_own=True)
def list_refreshes(call: Call) -> Response:
    project = _project(call, "read")
    part = page(call.request, executions.list_all(PROXY_REFRESH, project.project_id))
    return json_response([_to_json(each) for each in part.entries], headers=part.headers)


@operation("GET", _ONE, is_own=True)
def get_refresh(call: Call) -> Response:
    return json_response(_to_json(_execution(call, "read")))


@operation("PUT", _ONE, is_own=True)
def stop_refresh(call: Call) -> Response:
    executions.stop(_execution(call, "update"))
    return Response(200)


@operation("GET", f"{_ONE}/log", is_own=True)
def get_refresh_log(call: Call) -> Response:
    text = refreshes.log(_execution(call, "read"))
    return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())


@operation("GET", _SCHEDULE, is_own=True)
def get_refresh_schedule(call: Call) -> Response:
    """Nothing is told where there is none, as of Harbor's schedules."""
    schedule = refreshes.scheduled(_project(call, "read").project_id)
    if schedule is None:
        return json_response({})
    following = cron.parse(schedule.cron).next(now())
    told = {"type": schedule.kind, "cron": schedule.cron, "next_scheduled_time": fields.time(following)}
    return json_response({"id": schedule.number, "schedule": told, "parameters": dict(schedule.parameters)})


@operation("POST", _SCHEDULE, is_own=True)
def create_refresh_schedule(call: Call) -> Response:
    """Refresh now (`Manual`), or set the schedule."""
    project = _project(call, "update")
    started = _start_or_schedule(call, project)
    location = f"{PREFIX}/projects/{project.project_id}/refreshes/{started.number if started else 'schedule'}"
    return Response(201, {"Location": location})


@operation("PUT", _SCHEDULE, is_own=True)
def update_refresh_schedule(call: Call) -> Response:
    _start_or_schedule(call, _project(call, "update"))
    return Response(200)


def _start_or_schedule(call: Call, project: Project) -> Execution | None:
    """Do what {"schedule": {"type", "cron"}, "parameters": {"policy", "days"}} says; returns the run, if it is one."""
    body = json_body(call.request)
    schedule = fields.mapping(body, "schedule")
    kind, text = fields.text(schedule, "type"), fields.text(schedule, "cron", "")
    if kind == _NONE:
        refreshes.unschedule(project.project_id)
        return None
    wanted = refreshes.selection(fields.mapping(body, "parameters"))
    if kind == _MANUAL:
        return refreshes.start(project.project_id, wanted, call.caller.name)
    refreshes.schedule(project.project_id, kind, text, wanted)
    return None


def _project(call: Call, action: str) -> Project:
    """The proxy project that the path names, if the caller may do `action` on it. Raises BadRequestError for others."""
    project = require_project(call, "project", action)
    if not project.is_proxy:
        raise BadRequestError(f"project {project.name} pulls through from no registry")
    return project


def _execution(call: Call, action: str) -> Execution:
    project = _project(call, action)
    number = fields.identifier(call.parameters, "refresh_id")
    try:
        execution = executions.get(number, PROXY_REFRESH)
    except ExecutionNotFoundError:
        execution = None
    if execution is None or execution.vendor_id != project.project_id:
        raise NotFoundError(f"refresh {number} not found")
    return execution


def _to_json(execution: Execution) -> dict[str, Any]:
    """What a refresh was told, how it stands, and once it has ended what came of the tags."""
    return {
        "id": execution.number,
        "trigger": execution.trigger.value,
        "status": execution.status.value,
        "message": execution.message,
        "parameters": {name: execution.extra[name] for name in ("policy", "days")},
        "result": {name: value for name, value in execution.extra.items() if name not in ("policy", "days")},
        "start_time": fields.time(execution.started),
        **({"end_time": fields.time(execution.ended)} if execution.ended else {}),
    }
