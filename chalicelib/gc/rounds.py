"""A run, round by round: which pages of work there are now, what one comes to, and when the next round is due.

A run deletes untagged manifests and condemns blobs in its first round, and comes back when what it has released or
condemned is due: after the window, after the grace. It waits without cost, as a state machine does, and can be ended at
any moment: nothing is remembered through a wait but the records, so that the next run goes on with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from chalicelib.gc import blobs, forecast, manifests, reconciliation, work
from chalicelib.gc.records import Due, Tally, Task, Times, Watch
from chalicelib.gc.store import candidates
from chalicelib.registry import uploads
from chalicelib.storage.conditions import now

UPLOADS, MANIFESTS, BLOBS, CONDEMNED = "uploads", "manifests", "blobs", "condemned"
TABLES, OBJECTS = "tables", "objects"

MANIFESTS_PAGE = 200
"""Manifests of a page: each is deleted by itself, in a dozen calls, and a task is to end within minutes."""

_SLACK = 1000
"""Milliseconds that a round waits beyond what it waits for: clocks differ, and times are compared strictly."""


def first(*, delete_untagged: bool, reconcile: bool = False, dry_run: bool = False) -> list[Due]:
    """What a run begins with."""
    if dry_run:
        return forecast.first(delete_untagged=delete_untagged)
    kinds = [UPLOADS, BLOBS]
    kinds += [MANIFESTS] if delete_untagged else []
    kinds += [TABLES] if reconcile else []
    return [Due(kind, 0) for kind in kinds]


def plan(run: str, number: int, kinds: Iterable[str], times: Times) -> Iterator[Task]:
    """Write the pages of round `number`, and yield its tasks. May be done again."""
    for kind in kinds:
        if kind in forecast.KINDS:
            yield from forecast.plan(run, number, kind, times)
        elif kind == UPLOADS:
            yield Task(kind, "")
        elif kind == MANIFESTS:
            found = candidates.manifests(now() - times.window)
            yield from (Task(kind, page) for page in work.write_pages(run, f"{number}-{kind}", found, MANIFESTS_PAGE))
        elif kind in (BLOBS, CONDEMNED):
            # Condemned ones are looked at before their time, too, so that the run knows that they wait.
            listed = candidates.blobs(now())
            yield from (Task(kind, page) for page in work.write_pages(run, f"{number}-{kind}", listed))
        elif kind == TABLES:
            yield from (Task(kind, str(segment)) for segment in reconciliation.SEGMENTS)
        elif kind == OBJECTS and reconciliation.noted(run):
            yield from (Task(kind, shard) for shard in reconciliation.SHARDS)


def carry_out(run: str, task: Task, times: Times, watch: Watch) -> Tally:
    """Do one task, which may have been begun before. Ends early when told to."""
    if task.kind in forecast.KINDS:
        return forecast.carry_out(run, task, times, watch)
    if task.kind == UPLOADS:
        return Tally(purged_uploads=uploads.sweep())
    if task.kind == MANIFESTS:
        names = [(entry[0], entry[1]) for entry in work.read_page(task.name)]
        return manifests.collect(task.name, names, times, watch)
    if task.kind in (BLOBS, CONDEMNED):
        page = work.read_page(task.name)
        return blobs.collect(task.name, page, times, watch, condemn=task.kind == BLOBS)
    if task.kind == TABLES:
        return reconciliation.tables(run, int(task.name), times, watch)
    return reconciliation.objects(run, task.name, times, watch)


def following(kinds: Sequence[str], tally: Tally, times: Times) -> list[Due]:
    """What a round makes due later, by what it came to.

    A run ends: nested indexes are as deep as they are, and only blobs of the first kind are condemned.
    """
    if not forecast.KINDS.isdisjoint(kinds):
        return [due for kind in kinds for due in forecast.following(kind, tally, times)]
    due = []
    if tally.released_manifests and times.is_window_waited_for:
        due.append(Due(MANIFESTS, now() + times.window + _SLACK))
    if tally.purged_manifests and times.is_window_waited_for:
        due.append(Due(BLOBS, now() + times.window + _SLACK))
    if tally.condemned and BLOBS in kinds:
        due.append(Due(CONDEMNED, tally.condemned_last + times.grace + _SLACK))
    if TABLES in kinds:
        due.append(Due(OBJECTS, 0))
    return due


def split(pending: Sequence[Due]) -> tuple[int, list[str], list[Due]]:
    """When the next round is, its kinds, and what is due after it. `pending` is not empty."""
    at = max(min(due.at for due in pending), now())
    kinds = dict.fromkeys(due.kind for due in pending if due.at <= at)
    if BLOBS in kinds:
        kinds.pop(CONDEMNED, None)
    return at, list(kinds), [due for due in pending if due.at > at]


def to_json(pending: Sequence[Due]) -> list[list[Any]]:
    return [[due.kind, due.at] for due in pending]


def of_json(pending: Sequence[Sequence[Any]]) -> list[Due]:
    return [Due(str(kind), int(at)) for kind, at in pending]
