"""A whole run in one process, as the state machine drives it in many (infra/statemachines/gc.asl.json)."""

from __future__ import annotations

import time
from collections.abc import Callable

from chalicelib.gc import rounds, work
from chalicelib.gc.records import Tally, Times
from chalicelib.gc.work import Stopped
from chalicelib.storage.conditions import fresh, now


def run(
    times: Times,
    *,
    delete_untagged: bool = True,
    reconcile: bool = False,
    stopped: Stopped = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> Tally:
    """Collect until nothing is left of what the run has begun with, and return what came of it.

    `sleep` waits through the window and the grace, in seconds.
    """
    name, number, total = fresh(), 0, Tally()
    pending = rounds.first(delete_untagged=delete_untagged, reconcile=reconcile)
    try:
        while pending and not stopped():
            at, kinds, pending = rounds.split(pending)
            if at > now():
                sleep((at - now()) / 1000)
            tally = Tally()
            for task in rounds.plan(name, number, kinds, times):
                tally += rounds.carry_out(name, task, times, stopped)
            pending += rounds.following(kinds, tally, times)
            total, number = total + tally, number + 1
    finally:
        work.drop(name)
    return total
