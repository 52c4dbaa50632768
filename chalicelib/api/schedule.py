"""Harbor's tag `schedule`: all schedules of jobs, and whether they are paused."""

from __future__ import annotations

from typing import Any

from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import require_account, require_system
from chalicelib.api.operations import Call, json_response, operation
from chalicelib.api.paging import page
from chalicelib.http import Response
from chalicelib.jobs.schedules import SCHEDULER
from chalicelib.jobs.store import schedules as table
from chalicelib.jobs.store.schedules import Schedule


@operation("GET", "/schedules")
def list_schedules(call: Call) -> Response:
    require_system(call.caller, "jobservice-monitor", "list")
    part = page(call.request, table.read_all())
    return json_response([_to_json(each) for each in part.entries], headers=part.headers)


@operation("GET", "/schedules/{job_type}/paused")
def get_schedule_paused(call: Call) -> Response:
    require_account(call.caller)
    if call.parameters["job_type"].lower() != "all":
        raise BadRequestError("job_type can only be 'all'")
    return json_response({"paused": SCHEDULER in table.paused()})


def _to_json(schedule: Schedule) -> dict[str, Any]:
    """The swagger's ScheduleTask."""
    return {
        "id": schedule.number,
        "vendor_type": schedule.vendor_type,
        "vendor_id": schedule.vendor_id,
        "cron": schedule.cron,
        "update_time": fields.time(schedule.updated),
    }
