"""Harbor's tag `gc`: runs of the garbage collector, and the schedule by which it runs."""

from __future__ import annotations

import json
from typing import Any

from chalicelib.api import PREFIX, fields
from chalicelib.api.errors import NotFoundError
from chalicelib.api.guards import require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page
from chalicelib.api.query import selection
from chalicelib.gc import runs
from chalicelib.gc.runs import GARBAGE_COLLECTION
from chalicelib.http import Response
from chalicelib.jobs import cron, executions, schedules
from chalicelib.jobs.records import SYSTEM, Execution, Trigger
from chalicelib.storage.conditions import now

_RESOURCE = "garbage-collection"
_FIELDS = (
    *("id", "job_name", "job_status", "status", "job_kind", "trigger", "deleted"),
    *("creation_time", "update_time"),
)
_MANUAL, _NONE = "Manual", "None"


@operation("GET", "/system/gc")
def get_gc_history(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "list")
    found = executions.list_all(GARBAGE_COLLECTION, SYSTEM)
    part = page(call.request, selection(call.request, _FIELDS, _FIELDS).of(found, _selectable))
    return json_response([to_json(each) for each in part.entries], headers=part.headers)


@operation("GET", "/system/gc/{gc_id}")
def get_gc(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "read")
    return json_response(to_json(_find(call)))


@operation("PUT", "/system/gc/{gc_id}")
def stop_gc(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "stop")
    executions.stop(_find(call))
    return Response(200)


@operation("GET", "/system/gc/{gc_id}/log")
def get_gc_log(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "read")
    execution = _find(call)
    text = runs.log(execution)
    if not text:
        raise NotFoundError(f"garbage collection {execution.number} log is not found")
    return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())


@operation("GET", "/system/gc/schedule")
def get_gc_schedule(call: Call) -> Response:
    """As in Harbor, nothing is told where there is none."""
    require_system(call.caller, _RESOURCE, "read")
    schedule = schedules.find(GARBAGE_COLLECTION, SYSTEM)
    if schedule is None:
        return json_response({})
    following = cron.parse(schedule.cron).next(now())
    return json_response(
        {
            "id": schedule.number,
            "job_name": GARBAGE_COLLECTION.vendor_type,
            "job_kind": schedule.kind,
            "job_parameters": json.dumps(schedule.parameters),
            "schedule": {
                "type": schedule.kind,
                "cron": schedule.cron,
                "next_scheduled_time": fields.time(following),
            },
            "job_status": "",
            "deleted": False,
            "creation_time": fields.time(schedule.created),
            "update_time": fields.time(schedule.updated),
        }
    )


@operation("POST", "/system/gc/schedule")
def create_gc_schedule(call: Call) -> Response:
    """Start a run (`Manual`) or set the schedule. Harbor's answer for a run names it in `Location`."""
    require_system(call.caller, _RESOURCE, "create")
    started = _start_or_schedule(call)
    return Response(201, {"Location": f"{PREFIX}/system/gc/{started.number if started else 0}"})


@operation("PUT", "/system/gc/schedule")
def update_gc_schedule(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "update")
    _start_or_schedule(call)
    return Response(200)


def to_json(execution: Execution) -> dict[str, Any]:
    """The swagger's GCHistory. What the run came to is in `job_parameters`, as in Harbor."""
    return {**_facts(execution), "job_parameters": json.dumps(runs.told(execution))}


def _selectable(execution: Execution) -> dict[str, Any]:
    """What `q` and `sort` see of a run: Harbor filters by the columns of its table, which the API shows renamed."""
    return {**_facts(execution), "status": execution.status.value, "trigger": execution.trigger.value}


def _facts(execution: Execution) -> dict[str, Any]:
    return {
        "id": execution.number,
        "job_name": GARBAGE_COLLECTION.vendor_type,
        "job_kind": execution.trigger.value,
        "schedule": {"type": execution.trigger.value.capitalize()},
        "job_status": execution.status.value,
        "deleted": False,
        "creation_time": fields.time(execution.started),
        "update_time": fields.time(execution.updated),
    }


def _start_or_schedule(call: Call) -> Execution | None:
    """Do what a Schedule object says; returns the run that it has started, if any."""
    body = json_body(call.request)
    schedule = fields.mapping(body, "schedule")
    kind, text = fields.text(schedule, "type"), fields.text(schedule, "cron", "")
    if kind == _NONE:
        schedules.remove(GARBAGE_COLLECTION, SYSTEM)
        return None
    wanted = runs.parameters(fields.mapping(body, "parameters"))
    if kind == _MANUAL:
        return runs.start(wanted, Trigger.MANUAL, operator=call.caller.name)
    schedules.put(GARBAGE_COLLECTION, SYSTEM, kind, text, runs.to_json(wanted))
    return None


def _find(call: Call) -> Execution:
    return executions.get(fields.identifier(call.parameters, "gc_id"), GARBAGE_COLLECTION)
