"""The steps of state machines: what their task states call, all of them idempotent.

A state machine sends {"step", "execution", …} to the function of its kind of job. Two steps are the same for all:
`fail`, which a Catch leads to with the error, and `finish`. What a step returns is merged into the machine's state, so
it is small: cursors, counts, flags.

Jobs of many tasks share a scheme. `plan` writes the tasks, a page at a time; then some workers side by side take every
n-th of them (`work`). So the machine's state is a few numbers and its history a few events, however many tasks there
are (Step Functions: 256 KB, 25,000 events). A worker comes back before its function's time is over, and goes on where
it was.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.jobs import executions
from chalicelib.jobs.errors import ExecutionNotFoundError, StoppedError
from chalicelib.jobs.records import Execution, Kind, Status, Task
from chalicelib.jobs.store import executions as execution_table
from chalicelib.jobs.store import tasks
from chalicelib.observability import logger
from chalicelib.oci.errors import Unavailable
from chalicelib.storage.conditions import is_transient

StepInput = Mapping[str, Any]
Step = Callable[[Execution, StepInput], Mapping[str, Any]]

SLICE_SECONDS = 600.0
"""How long a step works before it comes back: Lambda ends it after 15 minutes, and one piece of work takes long too."""

WORKERS = 8
"""How many workers an execution has (the Map states of infra/statemachines), where its machine says no other number."""

_PAGE = 100
_RUNS = 3
"""How often a task is begun before it is given up, as Harbor's jobs (MaxFails)."""


def run(kind: Kind, event: StepInput, steps: Mapping[str, Step]) -> Mapping[str, Any]:
    """Do the step that a state machine asks for of an execution of `kind`.

    Raises StoppedError when the execution is over, and ExecutionNotFoundError when it is of another kind.
    """
    if event["step"] == "fail":
        _fail(event)
        return {}
    execution = executions.require_running(event["execution"])
    if execution.vendor_type != kind.vendor_type:
        raise ExecutionNotFoundError(f"execution {execution.number} is no {kind.vendor_type}")
    return {"finish": finish, **steps}[event["step"]](execution, event)


def finish(execution: Execution, _event: StepInput) -> Mapping[str, Any]:
    """End the execution: an error if one of its tasks is, else a success."""
    failed = sum(status is Status.ERROR for status in tasks.statuses(execution.number))
    message = f"{failed} of its tasks failed" if failed else ""
    executions.finish(execution, Status.ERROR if failed else Status.SUCCESS, message)
    return {}


def work(execution: Execution, event: StepInput, do: Callable[[Execution, Task], None]) -> Mapping[str, Any]:
    """Let `do` carry out the tasks of one worker, from its position on; returns how far it came.

    `do` ends the task. What it raises ends it too, as an error, unless a store is busy or others change the same: that
    is raised, so that the state machine tries again. Raises StoppedError.
    """
    worker, position = int(event["worker"]), int(event["position"])
    workers = int(event.get("workers", WORKERS))
    deadline = time.monotonic() + SLICE_SECONDS
    while page := tasks.read_page(execution.number, position, _PAGE):
        for task in page:
            if task.ordinal % workers == worker:
                if time.monotonic() > deadline:
                    return {"position": position, "done": False}
                if executions.is_stopped(execution):
                    raise StoppedError(f"execution {execution.number} is over")
                _do(execution, task, do)
            position = task.ordinal
    return {"position": position, "done": True}


def _do(execution: Execution, task: Task, do: Callable[[Execution, Task], None]) -> None:
    begun = tasks.begin(task) if not task.status.is_final else None
    if begun is None:
        return
    if begun.run_count > _RUNS:
        tasks.finish(begun, Status.ERROR, f"given up after {_RUNS} tries")
        return
    try:
        do(execution, begun)
    except StoppedError:
        raise
    except Exception as error:
        if is_transient(error) or isinstance(error, Unavailable):
            raise
        logger.exception("task failed", extra={"execution": execution.number, "task": begun.number})
        tasks.finish(begun, Status.ERROR, str(error) or type(error).__name__)


def _fail(event: StepInput) -> None:
    """Write down what has ended the state machine. `error` is a Catch's: its cause is Lambda's JSON, or text."""
    execution = execution_table.read(event["execution"])
    if execution is None:
        return
    error = event.get("error") or {}
    cause = str(error.get("Cause", ""))
    with contextlib.suppress(ValueError, KeyError, TypeError):
        cause = str(json.loads(cause)["errorMessage"])
    executions.finish(execution, Status.ERROR, f"{error.get('Error', 'error')}: {cause}")
