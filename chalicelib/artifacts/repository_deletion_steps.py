"""The job that deletes a large repository (infra/statemachines/repository-deletion.asl.json): a slice at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from chalicelib.artifacts import repository_deletion
from chalicelib.artifacts.repository_deletion import REPOSITORY_DELETION
from chalicelib.jobs import executions, steps
from chalicelib.jobs.errors import StoppedError
from chalicelib.jobs.records import Execution, Status, Task
from chalicelib.jobs.steps import SLICE_SECONDS, StepInput
from chalicelib.jobs.store import tasks
from chalicelib.oci.errors import Immutable
from chalicelib.registry.store import repositories

_TASK = 1
_LOOK_SECONDS = 5.0
"""How often a slice looks whether its execution was stopped."""


def run(event: StepInput) -> dict[str, Any]:
    """The Lambda's whole work. Raises StoppedError when the execution is over."""
    return dict(steps.run(REPOSITORY_DELETION, event, {"delete": _delete}))


def _delete(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    """Delete until the slice's time is over or nothing of what was there is left. It may be done again at any time."""
    number = event["progress"]["slice"]
    whole = repository_deletion.of_execution(execution.extra)
    if number == 0:
        tasks.create(execution.number, _TASK, [{"repository": whole.repository}])
    [task] = tasks.read_page(execution.number, 0, 1)
    begun = tasks.begin(task)
    if begun is None:
        return {"slice": number + 1, "done": True}
    goes_on = _clock(execution)
    try:
        is_checked = number > 0 or repository_deletion.require_deletable(whole.repository, goes_on)
        is_done = is_checked and repository_deletion.carry_out(whole, goes_on)
    except Immutable as error:
        _end(begun, Status.ERROR, str(error))
        return {"slice": number + 1, "done": True}
    if is_done and executions.require_running(execution.number).extra["until"] == whole.until:
        is_gone = repository_deletion.end(whole)
        _end(begun, Status.SUCCESS, "" if is_gone else "what was pushed meanwhile stays")
        return {"slice": number + 1, "done": True}
    return {"slice": number + int(is_checked), "done": False}


def _clock(execution: Execution) -> Callable[[], bool]:
    """Says whether a slice goes on; raises StoppedError when its execution was stopped."""
    deadline = time.monotonic() + SLICE_SECONDS
    looked = time.monotonic()

    def goes_on() -> bool:
        nonlocal looked
        moment = time.monotonic()
        if moment > looked + _LOOK_SECONDS:
            looked = moment
            if executions.is_stopped(execution):
                raise StoppedError(f"execution {execution.number} is over")
        return moment < deadline

    return goes_on


def _end(task: Task, status: Status, remark: str) -> None:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = task.extra["repository"]
    there = repositories.read(name)
    left = f"{there.manifests} manifests are left" if there else "it is gone"
    text = f"deleted repository {name}: {left}{f': {remark}' if remark else ''}"
    tasks.write_log(task, f"{stamp} [INFO] {text}\n")
    tasks.finish(task, status, remark)
