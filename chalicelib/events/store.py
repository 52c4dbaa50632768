"""The Events table: the audit log, and the outbox of what webhooks are to be told.

An event is written in the transaction that does what it tells of, so it costs no call and is there exactly if that
happened. Its entry is in two partitions: its project's, which takes as many writes a second as the project's catalog,
and one of the system's, chosen by chance, since no partition can take every write of the system.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from chalicelib.events import unlogged
from chalicelib.events.records import Actor, Event
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

SHARDS = 8
"""Partitions of the system's log, and of the outbox: a transaction's write costs two units of a partition's 1000."""

OUTBOX_PREFIX = "outbox|"
_PAGE = 500


@dataclass(frozen=True)
class Period:
    """From `since` up to and with `until`, in milliseconds since 1970; None is open."""

    since: int | None = None
    until: int | None = None

    @property
    def first(self) -> str:
        return sort_key(self.since or 0)

    @property
    def last(self) -> str:
        """No sort key of the period is greater. A key has more behind its time, so the next millisecond's is not."""
        return sort_key(10**14 if self.until is None else self.until + 1)


ALWAYS = Period()


def system_partitions() -> list[str]:
    return [f"log|{shard}" for shard in range(SHARDS)]


def project_partition(project_id: int) -> str:
    return f"project-log|{project_id}"


def partitions_of(event: Event) -> list[str]:
    """Where the entries of `event` are."""
    system = f"log|{shard_of(event.id)}"
    return [system, project_partition(event.project_id)] if event.project_id else [system]


def sort_key(time: int, event_id: str = "") -> str:
    return f"{time:015d}|{event_id}" if event_id else f"{time:015d}"


def shard_of(event_id: str) -> int:
    return int(event_id[-4:], 16) % SHARDS


def record(transaction: TransactWrite, event: Event) -> None:
    """Add `event` to the transaction that does what it tells of: two or three items."""
    for item in items_of(event):
        transaction.save(item)


def write(event: Event) -> None:
    """Write an event that tells of no change: of a login, or of something that failed."""
    if event.topic or _is_logged(event):
        transact(lambda transaction: record(transaction, event))


def publish(event: Event) -> None:
    """Write what webhooks are told of `event`, of which the log is told nothing."""
    for item in _outbox_items(event):
        item.save()


def publish_in(transaction: TransactWrite, event: Event) -> None:
    """Add what webhooks are told of `event`, of which the log is told nothing, to the transaction that does it."""
    for item in _outbox_items(event):
        transaction.save(item)


def write_all(events: Iterable[Event]) -> None:
    """Write many events that tell of no change; each is one entry however often it is written."""
    with tables.EntryItem.batch_write() as batch:
        for event in events:
            for item in items_of(event):
                batch.save(item)


def items_of(event: Event) -> Iterator[tables.EntryItem | tables.OutboxItem]:
    """The items that tell of `event`: its entries, unless the log leaves its type out, and what webhooks are told."""
    if _is_logged(event):
        yield from _log_entries(event)
    yield from _outbox_items(event)


def _is_logged(event: Event) -> bool:
    return event.type not in unlogged.types()


def _log_entries(event: Event) -> Iterator[tables.EntryItem]:
    key = sort_key(event.time, event.id)
    for partition in partitions_of(event):
        yield tables.EntryItem(
            partition,
            key,
            operation=event.operation,
            resource_type=event.resource_type,
            resource=event.resource,
            username=event.actor.name,
            address=event.actor.address,
            project_id=event.project_id,
            description=event.description,
            successful=event.is_successful,
        )


def _outbox_items(event: Event) -> Iterator[tables.OutboxItem]:
    if event.topic:
        yield tables.OutboxItem(
            f"{OUTBOX_PREFIX}{shard_of(event.id)}",
            sort_key(event.time, event.id),
            topic=event.topic,
            project_id=event.project_id,
            operator=event.actor.name,
            detail=dict(event.detail),
        )


def page(partitions: Sequence[str], period: Period, start: int, limit: int, *, descending: bool) -> list[Event]:
    """The entries of the merged partitions with the indexes `start` up to `start + limit`, by time."""
    found = _merged(partitions, period, descending, min(start + limit, _PAGE))
    return [to_event(item) for item in itertools.islice(found, start, start + limit)]


def entries(partitions: Sequence[str], period: Period, *, descending: bool) -> Iterator[Event]:
    """Every entry of the merged partitions, read as it is come to."""
    return (to_event(item) for item in _merged(partitions, period, descending, _PAGE))


def read_run(partition: str, period: Period, after: str) -> tuple[list[Event], str]:
    """Some entries of one partition, the oldest first, behind the sort key `after`, and the key to go on behind."""
    items, more = reads.query_range(
        settings().events_table, partition, period.first, period.last, after=after, limit=_PAGE
    )
    return [to_event(item) for item in items], more


def exists(event: Event) -> bool:
    """Whether the system's log has this entry."""
    key = Key(settings().events_table, partitions_of(event)[0], sort_key(event.time, event.id))
    return reads.get_item(key, ("operation",)) is not None


def _merged(partitions: Iterable[str], period: Period, descending: bool, size: int) -> Iterator[Item]:
    runs = [_entries_of(partition, period, descending, size) for partition in partitions]
    return heapq.merge(*runs, key=itemgetter("sk"), reverse=descending)


def _entries_of(partition: str, period: Period, descending: bool, size: int) -> Iterator[Item]:
    after, more = "", True
    while more:
        items, after = reads.query_range(
            settings().events_table,
            partition,
            period.first,
            period.last,
            after=after,
            limit=size,
            descending=descending,
        )
        yield from items
        more = bool(after)


def to_event(item: Item) -> Event:
    time, _, event_id = item["sk"].partition("|")
    return Event(
        item["operation"],
        item["resource_type"],
        item["resource"],
        Actor(item["username"], item["address"]),
        project_id=item["project_id"],
        description=item["description"],
        is_successful=item["successful"],
        time=int(time),
        id=event_id,
    )
