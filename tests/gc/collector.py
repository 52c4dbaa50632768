"""A whole run in one process, as the state machine drives it in many (infra/statemachines/gc.asl.json)."""

from __future__ import annotations

import time
from collections.abc import Callable

from chalicelib.gc import forecast, rounds, work
from chalicelib.gc.forecast import Forecast
from chalicelib.gc.records import Tally, Times, unwatched
from chalicelib.storage.conditions import new_id, now


def run(
    times: Times,
    *,
    delete_untagged: bool = True,
    reconcile: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> Tally:
    """Collect until nothing is left of what the run has begun with, and return what came of it.

    `sleep` waits through the window and the grace, in seconds.
    """
    name, number, total = new_id(), 0, Tally()
    pending = rounds.first(delete_untagged=delete_untagged, reconcile=reconcile)
    try:
        while pending and not stopped():
            at, kinds, pending = rounds.split(pending)
            if at > now():
                sleep((at - now()) / 1000)
            tally = Tally()
            for task in rounds.plan(name, number, kinds, times):
                tally += rounds.carry_out(name, task, times, lambda _part, _tally: not stopped())
            pending += rounds.following(kinds, tally, times)
            total, number = total + tally, number + 1
    finally:
        work.drop(name)
    return total


def foretell(times: Times, *, delete_untagged: bool, workers: int = 1) -> Forecast:
    """A whole dry run: what `run` would come to, with the state machine's number of workers."""
    name, number, tally = new_id(), 0, Tally()
    pending = rounds.first(delete_untagged=delete_untagged, dry_run=True)
    try:
        while pending:
            _, kinds, pending = rounds.split(pending)
            tasks = list(rounds.plan(name, number, kinds, times))
            tally = sum((rounds.carry_out(name, task, times, unwatched) for task in tasks), Tally())
            pending += rounds.following(kinds, tally, times)
            number += 1
        return forecast.report(name, times, workers)
    finally:
        work.drop(name)
