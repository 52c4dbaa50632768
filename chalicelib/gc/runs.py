"""Runs of the collector as jobs: started, told of, and the whole of what they came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.gc import events, times
from chalicelib.gc.errors import ParameterInvalidError
from chalicelib.gc.records import Parameters, Tally
from chalicelib.jobs import executions, kinds
from chalicelib.jobs.records import SYSTEM, Execution, Kind, Status, Trigger
from chalicelib.jobs.store import tasks
from chalicelib.storage.conditions import now

WORKERS = 5
"""The most that a run may have (Harbor, src/server/v2.0/handler/gc.go)."""

_WINDOW_HOURS = 24 * 365


@dataclass(frozen=True)
class Progress:
    """How far a run has come: its tasks, how many of them are done, that begun in part, and what came of them."""

    tasks: int
    done: float
    tally: Tally


def parameters(given: Mapping[str, Any]) -> Parameters:
    """A run's parameters, as Harbor's API takes them. Raises ParameterInvalidError or TimesTooShortError.

    What Harbor does not know is left alone, as it does.
    """
    workers = given.get("workers", 1)
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= WORKERS:
        raise ParameterInvalidError(
            f"Error: Invalid number of workers:{workers}. "
            f"Workers must be greater than 0 and less than or equal to {WORKERS}."
        )
    window = given.get("time_window")
    if window is not None and (isinstance(window, bool) or not isinstance(window, (int, float))):
        raise ParameterInvalidError("time_window must be a number of hours")
    if window is not None and not 0 <= window <= _WINDOW_HOURS:
        raise ParameterInvalidError(f"time_window must be from 0 to {_WINDOW_HOURS} hours")
    for name in ("dry_run", "delete_untagged", "reconcile"):
        if not isinstance(given.get(name, False), bool):
            raise ParameterInvalidError(f"{name} must be true or false")
    times.of(window)
    return Parameters(
        bool(given.get("dry_run", False)),
        bool(given.get("delete_untagged", False)),
        workers,
        window,
        given.get("reconcile"),
    )


def start(wanted: Parameters, trigger: Trigger, *, operator: str, occasion: str = "") -> Execution:
    """Start a run. Raises RunningError while another is under way, or Unavailable."""
    extra = to_json(wanted)
    return executions.start(GARBAGE_COLLECTION, SYSTEM, trigger, operator=operator, extra=extra, occasion=occasion)


def to_json(wanted: Parameters) -> dict[str, Any]:
    """What an execution is told of its parameters; `of` reads it."""
    return {name: value for name, value in vars(wanted).items() if value is not None}


def of(execution: Execution) -> Parameters:
    """The parameters that a run was started with."""
    extra = execution.extra
    return Parameters(
        extra["dry_run"], extra["delete_untagged"], extra["workers"], extra.get("time_window"), extra.get("reconcile")
    )


def progress(execution: Execution) -> Progress:
    """What the tasks of a run have come to so far. A task that was done twice has told twice of the same."""
    found = tasks.read_all(execution.number)
    tallies = (Tally.of_json(task.extra.get("tally", {})) for task in found)
    done = sum(1.0 if task.status.is_final else float(task.extra.get("part", 0)) for task in found)
    return Progress(len(found), done, sum(tallies, Tally()))


def told(execution: Execution) -> dict[str, Any]:
    """What a run has to tell: its parameters, and what it came to, or has come to so far."""
    if execution.status is Status.SUCCESS:
        return dict(execution.extra)
    return {**execution.extra, **account(execution, progress(execution))}


def account(execution: Execution, so_far: Progress) -> dict[str, Any]:
    """Harbor's three figures, and Berth's own beside them."""
    tally = so_far.tally
    seconds = ((execution.ended or now()) - execution.started) / 1000
    return {
        "purged_blobs": tally.purged_blobs,
        "purged_manifests": tally.purged_manifests,
        "freed_space": tally.freed_space,
        "duration_seconds": round(seconds, 1),
        "percent": 100 if execution.status is Status.SUCCESS else _percent(execution, so_far),
    }


def _account(execution: Execution) -> Mapping[str, Any]:
    return account(execution, progress(execution))


GARBAGE_COLLECTION = kinds.register(Kind("GARBAGE_COLLECTION", "gc", tell=events.ended, account=_account))


def _percent(execution: Execution, so_far: Progress) -> int:
    """How far a run has come that has not ended: never all the way, and never less far than it has told before.

    Which rounds follow is known when one has ended; one more is always reckoned with.
    """
    following = max(1, len(execution.extra.get("pending", ())))
    reached = int(100 * so_far.done / (so_far.tasks + following))
    return max(reached, int(execution.extra.get("percent", 0)))


def log(execution: Execution) -> str:
    """The logs of a run's tasks, one behind the other, up to what a Lambda answers."""
    pieces: list[str] = []
    size = 0
    for task in tasks.read_all(execution.number):
        text = tasks.read_log(task.number)
        size += len(text)
        if size > tasks.LOG_BYTES:
            pieces.append("… (the rest of this log is not shown)\n")
            break
        pieces.append(text)
    return "".join(pieces)
