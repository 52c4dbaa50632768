"""Reading the audit log, and purging it (Harbor, src/pkg/audit and src/pkg/auditext)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from chalicelib import retrying
from chalicelib.auditing import store as audit_counts
from chalicelib.events import store as table
from chalicelib.events.records import Event
from chalicelib.events.store import Period
from chalicelib.projects.records import Project

Predicate = Callable[[Event], bool]


@dataclass(frozen=True)
class Page:
    """Some entries of the log, and how many there are in all."""

    entries: Sequence[Event]
    total: int


@dataclass(frozen=True)
class Purged:
    """How many entries a page of a purge has deleted, and where the next goes on: empty at the end."""

    entries: int
    cursor: str


def of_system() -> list[str]:
    """The partitions of the whole log."""
    return table.system_partitions()


def of_projects(projects: Iterable[Project]) -> list[str]:
    """The partitions of the logs of `projects`."""
    return [table.project_partition(project.project_id) for project in projects]


def page(
    partitions: Sequence[str],
    period: Period,
    start: int,
    size: int,
    *,
    descending: bool = True,
    chosen: Predicate | None = None,
) -> Page:
    """The entries with the indexes `start` up to `start + size`, by time.

    Costs what it shows; with `chosen`, which says what entries are wanted, all that the period holds.
    """
    if chosen is None:
        found = table.page(partitions, period, start, size, descending=descending)
        return Page(found, audit_counts.count(partitions, period))
    shown: list[Event] = []
    total = 0
    for event in filter(chosen, table.entries(partitions, period, descending=descending)):
        if start <= total < start + size:
            shown.append(event)
        total += 1
    return Page(shown, total)


def purge(before: int, event_types: Collection[str], *, dry_run: bool = False, cursor: str = "") -> Purged:
    """Delete a page of the entries of `event_types` that are older than `before`, in milliseconds since 1970.

    Call it again with the cursor of the answer until that is empty. It can be killed and repeated at any point, and
    may run beside others. A dry run only counts.
    """
    partition, _, after = cursor.partition("/")
    partitions = table.system_partitions()
    partition = partition or partitions[0]
    seen, after = table.read_run(partition, Period(until=before - 1), after)
    old = [event for event in seen if event.type in event_types]
    deleted = len(old) if dry_run else sum(_delete(batch) for batch in _batches(old))
    if after:
        return Purged(deleted, f"{partition}/{after}")
    following = partitions[partitions.index(partition) + 1 :]
    return Purged(deleted, f"{following[0]}/" if following else "")


def _batches(events: Iterable[Event]) -> Iterator[Sequence[Event]]:
    """As many of one project as a transaction takes."""
    ordered = sorted(events, key=lambda event: event.project_id)
    for _, of_project in itertools.groupby(ordered, key=lambda event: event.project_id):
        while batch := list(itertools.islice(of_project, audit_counts.PURGE_LIMIT)):
            yield batch


def _delete(events: Sequence[Event]) -> int:
    """Delete entries, one by one if others come between. Returns how many were there."""
    if audit_counts.delete(events):
        return len(events)
    return sum(_delete_one(event) for event in events)


def _delete_one(event: Event) -> int:
    for _ in retrying.attempts(retrying.MEDIUM):
        if audit_counts.delete([event]):
            return 1
        if not table.exists(event):
            return 0
    return 0
