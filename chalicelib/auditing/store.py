"""The Events table: how many entries the audit log has, without reading them all each time.

A count that is kept says how many entries of a partition are as old as some moment, long enough ago that no entry of
an earlier time can still be written. What is younger is counted when it is asked for, and if that is much, the kept
count moves on. A purge takes what it deletes off the kept counts in the same transaction, and both name the version
that they read, so a count is exact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.events.records import Event
from chalicelib.events.store import ALWAYS, Period, partitions_of, sort_key
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import new_id, now, write_if
from chalicelib.storage.reads import Key
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.expressions.condition import Condition
    from pynamodb.transactions import TransactWrite

PURGE_LIMIT = 40
"""Entries that one transaction deletes: each is in two partitions, each partition has a count; 100 items in all."""

_COUNT = "count"
_SETTLED_SECONDS = 900
"""An event's time is taken before its transaction; a function lives so long at most."""
_WORTH_KEEPING = 200


@dataclass(frozen=True)
class _Kept:
    partition: str
    through: str = ALWAYS.first
    entries: int = 0
    version: str = ""
    """Empty when no count is kept yet."""


def count(partitions: Sequence[str], period: Period) -> int:
    """How many entries the partitions have in `period`."""
    if period != ALWAYS:
        return sum(_between(partition, period.first, period.last) for partition in partitions)
    settled = sort_key(now() - _SETTLED_SECONDS * 1000)
    return sum(_count_all(kept, settled) for kept in _read(partitions).values())


def _count_all(kept: _Kept, settled: str) -> int:
    middle = _between(kept.partition, kept.through, settled)
    latest = _between(kept.partition, max(settled, kept.through), ALWAYS.last)
    if middle > _WORTH_KEEPING:
        _keep(kept, settled, kept.entries + middle)
    return kept.entries + middle + latest


def _between(partition: str, first: str, last: str) -> int:
    return reads.count_range(settings().events_table, partition, first, last) if first < last else 0


def _read(partitions: Iterable[str]) -> dict[str, _Kept]:
    keys = {partition: Key(settings().events_table, _COUNT, partition) for partition in partitions}
    found = reads.get_items(keys.values())
    return {
        partition: _Kept(partition, found[key]["through"], found[key]["entries"], found[key]["version"])
        if key in found
        else _Kept(partition)
        for partition, key in keys.items()
    }


def _keep(before: _Kept, through: str, entries: int) -> None:
    """Move a kept count on, unless another has done something to it meanwhile: then that stands."""
    item = tables.CountItem(_COUNT, before.partition, through=through, entries=entries, version=new_id())
    write_if(item.save, condition=_unchanged(before))


def _unchanged(kept: _Kept) -> Condition:
    return tables.CountItem.version == kept.version if kept.version else tables.CountItem.pk.does_not_exist()


def delete(events: Sequence[Event]) -> bool:
    """Delete up to PURGE_LIMIT entries from all their partitions. False when others purge or count meanwhile.

    All must be of one project, or of none.
    """
    deleted = {(partition, sort_key(event.time, event.id)) for event in events for partition in partitions_of(event)}
    kept = _read(sorted({partition for partition, _ in deleted}))

    def write(transaction: TransactWrite) -> None:
        for partition, key in deleted:
            transaction.delete(tables.EntryItem(partition, key), condition=tables.EntryItem.pk.exists())
        for each in kept.values():
            _take_off(transaction, each, deleted)

    return transact(write)


def _take_off(transaction: TransactWrite, kept: _Kept, deleted: Collection[tuple[str, str]]) -> None:
    if not kept.version:
        transaction.condition_check(
            tables.CountItem, _COUNT, kept.partition, condition=tables.CountItem.pk.does_not_exist()
        )
        return
    gone = sum(1 for partition, key in deleted if partition == kept.partition and key <= kept.through)
    transaction.update(
        tables.CountItem(_COUNT, kept.partition),
        actions=[tables.CountItem.entries.set(kept.entries - gone), tables.CountItem.version.set(new_id())],
        condition=tables.CountItem.version == kept.version,
    )
