"""The life of an execution: started once, begun, told of, stopped or ended, and found dead.

The Jobs table is the truth; Step Functions drives. A start writes the execution first and starts its state machine
after that, under a name made of the execution's number, so that both may be repeated. Each step of the machine asks the
table whether the execution is still under way. So a stop takes effect at the next step even if Step Functions cannot be
reached, and nothing that a machine does can bring an execution back that is final.

What dies without a word (a machine that timed out, a cloud that was killed) is found by `settle`: whoever looks at an
execution under way asks Step Functions for its machine, and so does a start that finds the job taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib import retrying
from chalicelib.jobs.errors import ExecutionNotFoundError, RunningError, StoppedError
from chalicelib.jobs.kinds import KINDS
from chalicelib.jobs.records import Execution, Kind, Status, Trigger
from chalicelib.jobs.store import executions as table
from chalicelib.oci.errors import Unavailable
from chalicelib.storage import workflows
from chalicelib.storage.aws_json import RefusedError
from chalicelib.storage.conditions import now

_STARTING_SECONDS = 60
"""A pending execution that is older was not started by whoever wrote it: that takes a function's life at most."""


def start(
    kind: Kind,
    vendor_id: int,
    trigger: Trigger,
    *,
    operator: str = "",
    extra: Mapping[str, Any] | None = None,
    occasion: str = "",
) -> Execution:
    """Start a job, and return its execution.

    An `occasion` (of a schedule, of an event) that has started one before starts none again: that one is returned.
    Raises RunningError while another execution of the same exclusive job is under way, or Unavailable.
    """
    for _ in retrying.attempts(retrying.LOW):
        execution = table.create(kind, vendor_id, trigger, operator, extra or {}, occasion)
        if execution is None and occasion:
            execution = table.read_by_occasion(kind.vendor_type, vendor_id, occasion)
        if execution is not None:
            return _drive(kind, execution)
        _require_free(kind, vendor_id)
    raise Unavailable(f"{kind.vendor_type} {vendor_id} is being started and ended by others")


def get(number: int, kind: Kind | None = None) -> Execution:
    """The execution as it is, of `kind` if one is given. Raises ExecutionNotFoundError."""
    execution = table.read(number)
    if execution is None or (kind is not None and execution.vendor_type != kind.vendor_type):
        raise ExecutionNotFoundError(f"execution {number} not found")
    return reconcile(execution)


def list_all(kind: Kind, vendor_id: int) -> list[Execution]:
    """The executions of a job, the newest first."""
    return [reconcile(execution) for execution in table.read_all(kind.vendor_type, vendor_id)]


def list_unfinished(vendor_type: str = "") -> list[Execution]:
    """The executions under way, of one kind or of all."""
    found = (table.read(number) for number in table.unfinished(vendor_type))
    settled = [reconcile(execution) for execution in found if execution is not None]
    return [execution for execution in settled if not execution.status.is_final]


def require_running(number: int) -> Execution:
    """The execution, which runs from now on if it has been pending. A step of its machine begins with this.

    Raises StoppedError when it is final.
    """
    execution = table.read(number)
    if execution is not None and execution.status is Status.PENDING:
        table.begin(execution)
        execution = table.read(number)
    if execution is None or execution.status.is_final:
        raise StoppedError(f"execution {number} is over")
    return execution


def is_stopped(execution: Execution) -> bool:
    """Whether it has ended meanwhile: what a step asks now and then while it works."""
    current = table.read(execution.number)
    return current is None or current.status.is_final


def save_progress(execution: Execution, **extra: Any) -> Execution:
    """The execution with more to tell. Raises StoppedError when it is final."""
    told = {**execution.extra, **extra}
    if not table.tell(execution, told):
        raise StoppedError(f"execution {execution.number} is over")
    return replace(execution, extra=told)


def finish(execution: Execution, status: Status, message: str = "") -> Execution:
    """End an execution. One that is final stays as it is. Returns it as it is then.

    Whoever ends it (its machine, a stop, or whoever finds it dead): what it has done by then is recorded.
    """
    kind = KINDS[execution.vendor_type]
    if kind.account is not None:
        execution = table.read(execution.number) or execution  # what is told is written anew
    for _ in retrying.attempts(retrying.LOW):
        if execution.status.is_final:
            return execution
        if kind.account is not None:
            came_to = kind.account(replace(execution, status=status))
            execution = replace(execution, extra={**execution.extra, **came_to})
        ended = table.finish(execution, status, message, kind.tell)
        if ended is not None:
            return ended
        execution = table.read(execution.number) or execution
    raise Unavailable(f"execution {execution.number} is being changed by others")


def stop(execution: Execution) -> None:
    """End an execution before its time; one that is final stays as it is. May be done again. Raises Unavailable."""
    ended = finish(execution, Status.STOPPED)
    if ended.status is Status.STOPPED:
        workflows.stop(KINDS[execution.vendor_type].machine, _name(execution), "stopped by a user")


def stop_all(kind: Kind, vendor_id: int) -> None:
    """End whatever is under way of a job."""
    for number in table.unfinished(kind.vendor_type, vendor_id):
        execution = table.read(number)
        if execution is not None:
            stop(execution)


def forget(kind: Kind, vendor_id: int) -> None:
    """End and drop all executions of a job whose policy is deleted."""
    stop_all(kind, vendor_id)
    for execution in table.read_all(kind.vendor_type, vendor_id):
        table.delete(execution)


def reconcile(execution: Execution) -> Execution:
    """The execution, ended if its machine is not running any more without having said so."""
    if execution.status.is_final:
        return execution
    if execution.status is Status.PENDING and now() - execution.updated < _STARTING_SECONDS * 1000:
        return execution
    found = workflows.status(KINDS[execution.vendor_type].machine, _name(execution))
    if found == workflows.RUNNING:
        return execution
    # A machine says that it is done before it ends, so what the table says now is the last that it will.
    current = table.read(execution.number) or execution
    reason = f"its state machine ended as {found}" if found else "its state machine is gone"
    return finish(current, Status.STOPPED if found == workflows.ABORTED else Status.ERROR, reason)


def reconcile_all() -> None:
    """Look after all executions under way: after a deploy or a crash nobody else may."""
    list_unfinished()


def _drive(kind: Kind, execution: Execution) -> Execution:
    """Start the machine of a pending execution, be it for the second time."""
    if execution.status is not Status.PENDING:
        return execution
    try:
        state = {"execution": execution.number, "vendor_id": execution.vendor_id}
        workflows.start(kind.machine, _name(execution), state)
    except (RefusedError, Unavailable) as error:
        # It may have been started all the same, when only the answer was lost: then its first step finds this.
        finish(execution, Status.ERROR, f"it could not be started: {error}")
        raise
    return execution


def _require_free(kind: Kind, vendor_id: int) -> None:
    """Raises RunningError while an execution of the job is under way."""
    for number in table.unfinished(kind.vendor_type, vendor_id):
        execution = table.read(number)
        if execution is not None and not reconcile(execution).status.is_final:
            raise RunningError(f"execution {number} of {kind.vendor_type} is still running")


def _name(execution: Execution) -> str:
    return f"execution-{execution.number}"
