"""The job that purges the audit log (infra/statemachines/purge-audit-log.asl.json): one task, a slice at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chalicelib.auditing import log
from chalicelib.auditing.purging import PURGE_AUDIT_LOG
from chalicelib.jobs import executions, steps
from chalicelib.jobs.errors import StoppedError
from chalicelib.jobs.records import Execution, Status
from chalicelib.jobs.steps import SLICE_SECONDS, StepInput
from chalicelib.jobs.store import tasks

_HOUR_MS = 3_600_000
_TASK = 1


def run(event: StepInput) -> dict[str, Any]:
    """The Lambda's whole work. Raises StoppedError when the execution is over."""
    return dict(steps.run(PURGE_AUDIT_LOG, event, {"purge": _purge}))


def _purge(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    """Delete page after page of what is old enough, until the slice's time is over or nothing is left.

    A slice that is done again finds less to delete: what it has deleted before counts in the log of neither.
    """
    progress = event["progress"]
    number, cursor, deleted = progress["slice"], progress["cursor"], progress["deleted"]
    if number == 0:
        tasks.create(execution.number, _TASK, [{}])
    [task] = tasks.read_page(execution.number, 0, 1)
    begun = tasks.begin(task)
    if begun is None:
        return {**progress, "done": True}
    told = execution.extra
    before = execution.started - told["audit_retention_hour"] * _HOUR_MS
    lines = [_begin(told, before)] if number == 0 else []
    deadline = time.monotonic() + SLICE_SECONDS
    while True:
        if executions.is_stopped(execution):
            raise StoppedError(f"execution {execution.number} is over")
        page = log.purge(before, told["include_event_types"], dry_run=told["dry_run"], cursor=cursor)
        deleted, cursor = deleted + page.entries, page.cursor
        if not cursor or time.monotonic() > deadline:
            break
    if not cursor:
        lines.append(f"{'found' if told['dry_run'] else 'purged'} {deleted} audit log entries")
    tasks.write_log(begun, "".join(_stamped(line) for line in lines), part=number)
    if not cursor:
        tasks.finish(begun, Status.SUCCESS, extra={"purged": deleted})
    return {"slice": number + 1, "cursor": cursor, "deleted": deleted, "done": not cursor}


def _begin(told: Mapping[str, Any], before: int) -> str:
    moment = datetime.fromtimestamp(before / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    types, is_dry_run = ",".join(told["include_event_types"]), str(told["dry_run"]).lower()
    return f"Purge audit job start: older than {moment}, event types {types}, dry run {is_dry_run}"


def _stamped(line: str) -> str:
    return f"{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')} [INFO] {line}\n"
