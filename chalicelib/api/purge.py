"""Harbor's tag `purge`: purges of the audit log, and their schedule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError, NotFoundError
from chalicelib.api.guards import require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page
from chalicelib.api.query import selection
from chalicelib.auditing import purging
from chalicelib.auditing.purging import PURGE_AUDIT_LOG
from chalicelib.http import Response
from chalicelib.jobs import cron, executions
from chalicelib.jobs.records import SYSTEM, Execution
from chalicelib.jobs.store import tasks
from chalicelib.storage.conditions import now

_RESOURCE = "purge-audit"
_BASE = "/system/purgeaudit"
_FIELDS = (
    *("id", "job_name", "job_status", "status", "job_kind", "trigger", "deleted"),
    *("creation_time", "update_time"),
)


@operation("GET", _BASE)
def get_purge_history(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "list")
    chosen = selection(call.request, _FIELDS, _FIELDS)
    part = page(call.request, chosen.of(executions.list_all(PURGE_AUDIT_LOG, SYSTEM), _selectable))
    return json_response([_to_json(each) for each in part.entries], headers=part.headers)


@operation("GET", f"{_BASE}/schedule")
def get_purge_schedule(call: Call) -> Response:
    """As in Harbor, nothing is told where there is none."""
    require_system(call.caller, _RESOURCE, "read")
    schedule = purging.scheduled()
    if schedule is None:
        return json_response({})
    following = cron.parse(schedule.cron).next(now())
    return json_response(
        {
            "id": schedule.number,
            "job_name": "",
            "job_kind": schedule.cron,
            "job_parameters": _parameters(schedule.parameters),
            "schedule": {
                "type": schedule.kind,
                "cron": schedule.cron,
                "next_scheduled_time": fields.time(following),
            },
            "deleted": False,
            "creation_time": fields.time(schedule.created),
            "update_time": fields.time(schedule.updated),
        }
    )


@operation("POST", f"{_BASE}/schedule")
def create_purge_schedule(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "create")
    number = _start_or_schedule(call)
    return Response(201, {"Location": f"{call.request.path.rpartition('/')[0]}/{number}"})


@operation("PUT", f"{_BASE}/schedule")
def update_purge_schedule(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "update")
    _start_or_schedule(call)
    return Response(200)


@operation("GET", f"{_BASE}/{{purge_id}}")
def get_purge_job(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "read")
    return json_response(_to_json(_execution(call)))


@operation("PUT", f"{_BASE}/{{purge_id}}")
def stop_purge(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "stop")
    executions.stop(_execution(call))
    return Response(200)


@operation("GET", f"{_BASE}/{{purge_id}}/log")
def get_purge_job_log(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "read")
    execution = _execution(call)
    found = tasks.read_page(execution.number, 0, 1)
    if not found:
        raise NotFoundError(f"purge job with execution ID: {execution.number} taskLog is not found")
    return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, tasks.read_log(found[0].number).encode())


def _start_or_schedule(call: Call) -> int:
    """Do what a Schedule asks for: purge now, or set when. Returns the execution's number; 0 when none is started."""
    body = json_body(call.request)
    schedule, parameters = fields.mapping(body, "schedule"), fields.mapping(body, "parameters")
    if not schedule:
        raise BadRequestError("schedule cann't be empty")
    type_, text = fields.text(schedule, "type"), fields.text(schedule, "cron", "")
    if type_ == "None":
        purging.unschedule()
    elif type_ == "Manual":
        return purging.start(parameters, call.caller.name).number
    else:
        purging.schedule(type_, text, parameters)
    return 0


def _execution(call: Call) -> Execution:
    return executions.get(fields.identifier(call.parameters, "purge_id"), PURGE_AUDIT_LOG)


def _selectable(execution: Execution) -> Mapping[str, Any]:
    """What `q` and `sort` see of a purge: Harbor filters by the columns of its table, which the API shows renamed."""
    return {**_to_json(execution), "status": execution.status.value, "trigger": execution.trigger.value}


def _to_json(execution: Execution) -> dict[str, Any]:
    """The swagger's ExecHistory."""
    return {
        "id": execution.number,
        "job_name": execution.vendor_type,
        "job_kind": execution.trigger,
        "job_parameters": _parameters(execution.extra),
        "schedule": {"type": execution.trigger.capitalize()},
        "job_status": execution.status,
        "deleted": False,
        "creation_time": fields.time(execution.started),
        "update_time": fields.time(execution.updated),
    }


def _parameters(told: Mapping[str, Any]) -> str:
    """As they were sent; older purges keep only what that meant."""
    sent = told.get("sent") or {"include_event_types": ",".join(told["include_event_types"])}
    return json.dumps({"audit_retention_hour": told["audit_retention_hour"], "dry_run": told["dry_run"], **sent})
