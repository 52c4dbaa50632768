"""The steps of a run's state machine (infra/statemachines/gc.asl.json): rounds of plan, work and settle, with waits.

The machine's state is the number of a round, where its tasks begin and end, and what is due later; the candidates are
in S3, the tasks and what they came to in the Jobs table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chalicelib.gc import forecast, rounds, runs, times, work
from chalicelib.gc.records import Due, Parameters, Tally
from chalicelib.gc.records import Task as Piece
from chalicelib.gc.runs import GARBAGE_COLLECTION
from chalicelib.jobs import executions, steps
from chalicelib.jobs.errors import StoppedError
from chalicelib.jobs.records import Execution, Status, Task
from chalicelib.jobs.steps import StepInput
from chalicelib.jobs.store import tasks
from chalicelib.settings import settings
from chalicelib.storage.conditions import now

_WATCH_SECONDS = 1.0
"""How often a task tells how far it is, and asks whether the run was stopped."""


def run(event: StepInput) -> dict[str, Any]:
    """The Lambda's whole work. Raises StoppedError when the execution is over."""
    return dict(
        steps.run(GARBAGE_COLLECTION, event, {"plan": _plan, "work": _work, "settle": _settle, "finish": _finish})
    )


def _plan(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    """Begin a round: write its pages and tasks; or say how long to wait for it."""
    state, wanted = event["plan"], runs.of(execution)
    pending = rounds.of_json(state["pending"]) if state["round"] else _first(wanted)
    at, kinds, later = rounds.split(pending)
    if at > now():
        wait = (at - now()) // 1000 + 1
        return {**state, "wait": wait, "waited": state["waited"] + wait}
    planned = rounds.plan(str(execution.number), state["round"], kinds, times.of(wanted.time_window))
    behind = tasks.create(execution.number, state["next"], ({"kind": each.kind, "name": each.name} for each in planned))
    executions.save_progress(execution, pending=rounds.to_json(later), wait_seconds=state["waited"])
    return {
        "round": state["round"] + 1,
        "start": state["next"] - 1,
        "next": behind,
        "kinds": kinds,
        "pending": rounds.to_json(later),
        "workers": list(range(min(wanted.workers, max(behind - state["next"], 1)))),
        "count": min(wanted.workers, max(behind - state["next"], 1)),
        "wait": 0,
        "waited": state["waited"],
        "done": False,
    }


def _first(wanted: Parameters) -> list[Due]:
    reconcile = work.reconciled() < now() - settings().gc_reconcile_days * 86_400_000
    reconcile = reconcile if wanted.reconcile is None else wanted.reconcile
    return rounds.first(delete_untagged=wanted.delete_untagged, reconcile=reconcile, dry_run=wanted.dry_run)


def _work(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    return steps.work(execution, event, _carry_out)


def _carry_out(execution: Execution, task: Task) -> None:
    """Do one task, as far as the run is not stopped, and write down what came of it."""
    wanted, watch = runs.of(execution), _Watch(execution, task)
    run, limits = str(execution.number), times.of(wanted.time_window)
    piece, told = Piece(task.extra["kind"], task.extra["name"]), dict(task.extra)
    if piece.kind == forecast.TELL:
        made = forecast.report(run, limits, wanted.workers)
        tally = made.tally
        told |= {"expected_seconds": round(made.seconds, 1), "expected_wait_seconds": round(made.waits, 1)}
    else:
        tally = rounds.carry_out(run, piece, limits, watch)
    tasks.write_log(task, _log(task, tally, told), part=task.run_count)
    status = Status.STOPPED if watch.is_over else Status.SUCCESS
    tasks.finish(task, status, extra={**told, "tally": tally.to_json()})
    if watch.is_over:
        raise StoppedError(f"execution {execution.number} is over")


def _settle(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    """End a round: what it came to says what is due later."""
    state, wanted = event["plan"], runs.of(execution)
    pending = rounds.of_json(state["pending"])
    found = (task for task in tasks.read_all(execution.number) if state["start"] < task.ordinal < state["next"])
    tally = sum(map(_came_to, found), Tally())
    pending += rounds.following(state["kinds"], tally, times.of(wanted.time_window))
    so_far = runs.account(execution, runs.progress(execution))
    executions.save_progress(execution, pending=rounds.to_json(pending), **so_far)
    return {**state, "pending": rounds.to_json(pending), "done": not pending}


def _came_to(task: Task) -> Tally:
    """What a task has told. One that failed may have done more, for which a round of blobs has to follow.

    None of manifests: a page that always fails must not follow itself.
    """
    told = Tally.of_json(task.extra.get("tally", {}))
    if task.status is not Status.ERROR:
        return told
    more = {
        rounds.MANIFESTS: Tally(purged_manifests=1),
        rounds.BLOBS: Tally(condemned=1, condemned_last=now()),
    }
    return told + more.get(task.extra["kind"], Tally())


def _finish(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    """Tell what the run came to, and end it. It counts as a reconciliation if the whole bucket was looked through."""
    told: dict[str, Any] = {}
    listed: set[Status] = set()
    for task in tasks.read_all(execution.number):
        told |= {name: value for name, value in task.extra.items() if name.startswith("expected_")}
        if task.extra["kind"] == rounds.OBJECTS:
            listed.add(task.status)
    if listed == {Status.SUCCESS}:
        work.note_reconciled(execution.started)
    executions.save_progress(execution, pending=[], percent=100, **told)
    work.drop(str(execution.number))
    return steps.finish(execution, event)


class _Watch:
    """Tells the table now and then how far a task is, and asks it whether the run has been ended."""

    def __init__(self, execution: Execution, task: Task) -> None:
        self._execution, self._task = execution, task
        self._last, self.is_over = time.monotonic(), False

    def __call__(self, part: float, tally: Tally) -> bool:
        if not self.is_over and time.monotonic() - self._last > _WATCH_SECONDS:
            tasks.save_progress(self._task, {**self._task.extra, "part": round(part, 3), "tally": tally.to_json()})
            self._last, self.is_over = time.monotonic(), executions.is_stopped(self._execution)
        return not self.is_over


def _log(task: Task, tally: Tally, told: Mapping[str, Any]) -> str:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    facts = {**tally.to_json(), **{name: value for name, value in told.items() if name.startswith("expected_")}}
    line = ", ".join(f"{name}: {value}" for name, value in facts.items()) or "nothing"
    return f"{stamp} [INFO] {task.extra['kind']} {task.extra['name']}: {line}\n"
