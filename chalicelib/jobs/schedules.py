"""Schedules: jobs that start by themselves, by a cron expression.

The record in the Jobs table is the truth. EventBridge Scheduler has a schedule for each, named after the job, that only
wakes the function `run_scheduled_job`: whether something is due is decided by the record. So a schedule that is lost is
put back (at each deploy and start), one that is left over does nothing, and one that fires twice, late or by an older
expression starts nothing twice: what starts is the record's last time, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chalicelib import retrying
from chalicelib.jobs import cron, executions
from chalicelib.jobs.errors import ChangedError, RunningError, ScheduleInvalidError
from chalicelib.jobs.kinds import KINDS
from chalicelib.jobs.records import Execution, Kind, Trigger
from chalicelib.jobs.store import schedules as table
from chalicelib.jobs.store.schedules import Schedule
from chalicelib.observability import logger
from chalicelib.storage import scheduler
from chalicelib.storage.conditions import now

SCHEDULER = "SCHEDULER"
"""Harbor's kind of job that starts the others by their schedules: who pauses it pauses all schedules."""

CRONS = {"Hourly": "0 0 * * * *", "Daily": "0 0 0 * * *", "Weekly": "0 0 0 * * 0"}
"""What Harbor's console makes of its choices."""
CUSTOM = ("Custom", "Schedule")
"""Kinds that tell their own expression."""

_CLOCK_SKEW_MS = 2000
"""A function's clock may be so far behind the scheduler's."""


def find(kind: Kind, vendor_id: int) -> Schedule | None:
    return table.read(kind.vendor_type, vendor_id)


def expression(kind: str, text: str) -> cron.Cron:
    """The expression of Harbor's schedule object {type, cron}. Raises ScheduleInvalidError."""
    if kind not in CUSTOM and kind not in CRONS:
        raise ScheduleInvalidError(f"a schedule's type is one of {', '.join((*CRONS, *CUSTOM))}")
    if not text and kind in CUSTOM:
        raise ScheduleInvalidError("empty cron string for schedule")
    return cron.parse(text or CRONS[kind])


def put(kind: Kind, vendor_id: int, type_: str, text: str, parameters: Mapping[str, Any]) -> None:
    """Set a job's schedule. Raises ScheduleInvalidError, ChangedError or Unavailable."""
    parsed = expression(type_, text)
    table.write(kind.vendor_type, vendor_id, type_, parsed.text, parameters)
    _establish(kind.vendor_type, vendor_id)


def remove(kind: Kind, vendor_id: int) -> None:
    """Take a job's schedule away, if it has one. Raises ChangedError or Unavailable."""
    table.delete(kind.vendor_type, vendor_id)
    _establish(kind.vendor_type, vendor_id)


def establish_all() -> None:
    """Make EventBridge have the schedules of all records, and no others: what a deploy or a crash has lost is back."""
    wanted = {_name(schedule.vendor_type, schedule.vendor_id): schedule for schedule in table.read_all()}
    for schedule in wanted.values():
        _establish(schedule.vendor_type, schedule.vendor_id)
    for name in scheduler.names():
        if name not in wanted:
            vendor_type, _, vendor_id = name.rpartition("-")
            _establish(vendor_type, int(vendor_id))


def run(event: Mapping[str, Any]) -> int | None:
    """Start what a schedule is due for. The Lambda's whole work; returns the execution's number.

    Nothing starts while the kind of job is paused, or the execution before has not ended.
    """
    vendor_type, vendor_id = event["vendor_type"], int(event["vendor_id"])
    schedule = table.read(vendor_type, vendor_id)
    if schedule is None:
        _establish(vendor_type, vendor_id)
        return None
    due = cron.parse(schedule.cron).last(now() + _CLOCK_SKEW_MS)
    if due <= schedule.updated or {vendor_type, SCHEDULER} & table.paused():
        return None
    started = _start(schedule, due)
    return started.number if started else None


def _start(schedule: Schedule, due: int) -> Execution | None:
    kind = KINDS[schedule.vendor_type]
    try:
        return executions.start(
            kind, schedule.vendor_id, Trigger.SCHEDULE, extra=schedule.parameters, occasion=f"schedule-{due}"
        )
    except RunningError as error:
        logger.warning("a scheduled job was left out", extra={"vendor_id": schedule.vendor_id, "reason": str(error)})
        return None


def _establish(vendor_type: str, vendor_id: int) -> None:
    """Make EventBridge have what the record says, even if others change the record meanwhile.

    The last writer reads the record after its write: so whatever the order, the last one's state is left.
    """
    name = _name(vendor_type, vendor_id)
    for _ in retrying.attempts(retrying.MEDIUM):
        before = table.read(vendor_type, vendor_id)
        if before is None:
            scheduler.delete(name)
        else:
            message = json.dumps({"vendor_type": vendor_type, "vendor_id": vendor_id})
            scheduler.put(name, cron.parse(before.cron).expression, message)
        if table.read(vendor_type, vendor_id) == before:
            return
    raise ChangedError(f"the schedule of {vendor_type} {vendor_id} is being changed by others: try again")


def _name(vendor_type: str, vendor_id: int) -> str:
    return f"{vendor_type}-{vendor_id}"
