"""The Projects table: what counts in each project's usage, digest by digest, and the sum of it.

The sum is kept in SHARDS totals, so that pushes to one project do not queue at one item: a transaction that adds or
frees charges adjusts one of them, any one. `used` adds up to the bytes that are charged, `room` to the limit less
that (less nothing when there is no limit: it is negative then). While no room is negative, a total whose room is
enough for a charge is all that a push must look at to stay below the limit (chalicelib/projects/quotas.py). In projects
with a limit `unreferenced` adds up to the bytes that are stored and not charged (chalicelib/registry/unreferenced.py).

What all projects store is added up too, in STORED_SHARDS parts with a partition each: every push with something new
adds to one of them, any one.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib import retrying
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import new_id, write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import CANDIDATE_SHARDS, padded
from chalicelib.storage.tables.keys import shard as shard_of
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.expressions.condition import Condition
    from pynamodb.transactions import TransactWrite

SHARDS = CANDIDATE_SHARDS

STORED_SHARDS = 64
"""A hundred such pushes a second, of some 20 ms each, then meet in one of thirty; who meets another tries again."""

CHARGE_PREFIX = "charge|"
_TOTAL = "total"
_STORED = "stored"


@dataclass(frozen=True)
class Charge:
    """That `digest` counts with `size` bytes. `freeing`: somebody is looking whether it still should.

    `uploaded`: its bytes came by an upload into this project, and are unreferenced again when the charge is freed.
    """

    digest: str
    size: int
    version: str
    freeing: bool
    uploaded: bool = False


@dataclass(frozen=True)
class Total:
    """One of the SHARDS parts of a project's sum; all zero before it is first written. `changes` counts its writes."""

    shard: int
    used: int = 0
    room: int = 0
    changes: int = 0
    unreferenced: int = 0


@dataclass(frozen=True)
class Adjustment:
    """Bytes to add to a total, which must have `least` room, or be as it was after so many `changes`."""

    shard: int
    used: int
    room: int
    least: int | None = None
    changes: int | None = None
    unreferenced: int = 0


def charge_key(project_id: int, digest: str) -> Key:
    return Key(settings().projects_table, _partition(project_id, shard_of(digest)), f"{CHARGE_PREFIX}{digest}")


def total_keys(project_id: int) -> list[Key]:
    return [Key(settings().projects_table, _partition(project_id, shard), _TOTAL) for shard in range(SHARDS)]


def to_charge(item: Item) -> Charge:
    digest = item["sk"].removeprefix(CHARGE_PREFIX)
    return Charge(
        digest, item["size"], item["version"], item.get("freeing", False), uploaded=item.get("uploaded", False)
    )


def to_totals(project_id: int, found: Mapping[Key, Item]) -> tuple[Total, ...]:
    """A project's totals, by shard, from what was found under their keys."""
    items = (found.get(key, {}) for key in total_keys(project_id))
    return tuple(
        Total(
            shard,
            used=item.get("used", 0),
            room=item.get("room", 0),
            changes=item.get("changes", 0),
            unreferenced=item.get("unreferenced", 0),
        )
        for shard, item in enumerate(items)
    )


def read_charges(project_id: int, digests: Iterable[str]) -> dict[str, Charge]:
    """The charges that exist, by digest."""
    items = reads.get_items(charge_key(project_id, digest) for digest in digests)
    return {charge.digest: charge for charge in map(to_charge, items.values())}


def read_page(project_id: int, shard: int, after: str, limit: int) -> tuple[list[Charge], str]:
    """A page of the charges of one shard, and the sort key to go on behind, empty at the end."""
    table = settings().projects_table
    items, last = reads.query(table, _partition(project_id, shard), CHARGE_PREFIX, after=after, limit=limit)
    return [to_charge(item) for item in items], last


def read_totals(project_ids: Collection[int]) -> dict[int, tuple[Total, ...]]:
    """The totals of each project, by its number. No snapshot: each is as of some moment during the call."""
    found = reads.get_items(key for project_id in project_ids for key in total_keys(project_id))
    return {project_id: to_totals(project_id, found) for project_id in project_ids}


def stored() -> int:
    """The bytes that all projects are charged for: one call."""
    keys = [Key(settings().projects_table, f"{_STORED}|{shard}", _STORED) for shard in range(STORED_SHARDS)]
    return sum(item["used"] for item in reads.get_items(keys).values())


def add_charges(
    transaction: TransactWrite,
    project_id: int,
    sizes: Mapping[str, int],
    adjustments: Iterable[Adjustment],
    uploaded: Collection[str] = (),
) -> None:
    """Charge digests that are not charged yet: the transaction fails if one is.

    The bytes of `uploaded`, some of them, were unreferenced until now: `adjustments` take them off.
    """
    for digest, size in sizes.items():
        key = charge_key(project_id, digest)
        charge = tables.ChargeItem(key.pk, key.sk, size=size, version=new_id(), uploaded=digest in uploaded or None)
        transaction.save(charge, condition=tables.ChargeItem.pk.does_not_exist())
    adjust(transaction, project_id, adjustments)


def charge(
    project_id: int, sizes: Mapping[str, int], adjustments: Iterable[Adjustment], uploaded: Collection[str] = ()
) -> bool:
    """Charge digests, as many as a transaction holds. False when one is charged already or a total has changed."""
    return transact(lambda transaction: add_charges(transaction, project_id, sizes, adjustments, uploaded))


def adjust(transaction: TransactWrite, project_id: int, adjustments: Iterable[Adjustment]) -> None:
    """Add to totals, on their conditions, and to the sum of all projects."""
    used = 0
    for adjustment in adjustments:
        actions: list[Any] = [
            tables.TotalItem.used.add(adjustment.used),
            tables.TotalItem.room.add(adjustment.room),
            tables.TotalItem.changes.add(1),
        ]
        if adjustment.unreferenced:
            actions.append(tables.TotalItem.unreferenced.add(adjustment.unreferenced))
        item = tables.TotalItem(_partition(project_id, adjustment.shard), _TOTAL)
        transaction.update(item, actions=actions, condition=_condition(adjustment))
        used += adjustment.used
    if used:
        _add_stored(transaction, used)


def make_room(transaction: TransactWrite, project_id: int, limit: int) -> None:
    """Spread the room of a new project over its totals."""
    share, extra = divmod(limit, SHARDS)
    parts = [Adjustment(shard, 0, share + (shard < extra)) for shard in range(SHARDS)]
    adjust(transaction, project_id, parts)


def any_shard(used: int, room: int, unreferenced: int = 0) -> Adjustment:
    """An adjustment of any of the totals, so that those who make one at once seldom meet."""
    shard = random.randrange(SHARDS)  # noqa: S311 -- which one does not matter
    return Adjustment(shard, used, room, unreferenced=unreferenced)


def add_unreferenced(project_id: int, size: int) -> None:
    """Add to the bytes that are stored and not charged, or take off when `size` is negative.

    It is no change of the total in the sense of `changes`: what is planned by used bytes and room stays right.
    """
    total = any_shard(0, 0, size)
    write_if(
        tables.TotalItem(_partition(project_id, total.shard), _TOTAL).update,
        actions=[tables.TotalItem.unreferenced.add(size)],
    )


def mark_freeing(project_id: int, charge: Charge) -> str:
    """Say that `charge` may be freed. Returns the mark, empty when the charge has changed since it was read."""
    version = new_id()
    key = charge_key(project_id, charge.digest)
    marked = write_if(
        tables.ChargeItem(key.pk, key.sk).update,
        actions=[tables.ChargeItem.freeing.set(True), tables.ChargeItem.version.set(version)],
        condition=tables.ChargeItem.version == charge.version,
    )
    return version if marked else ""


def keep(project_id: int, digest: str) -> bool:
    """Take a mark away, so that its setter does not free the charge. False when it is freed already."""
    key = charge_key(project_id, digest)
    return write_if(
        tables.ChargeItem(key.pk, key.sk).update,
        actions=[tables.ChargeItem.freeing.remove(), tables.ChargeItem.version.set(new_id())],
        condition=tables.ChargeItem.pk.exists(),
    )


def free(project_id: int, charge: Charge, mark: str) -> bool:
    """Remove a charge that still has `mark`, and its bytes from the sum. False when others have changed it."""

    def write(transaction: TransactWrite) -> None:
        key = charge_key(project_id, charge.digest)
        transaction.delete(tables.ChargeItem(key.pk, key.sk), condition=tables.ChargeItem.version == mark)
        unreferenced = charge.size if charge.uploaded else 0
        adjust(transaction, project_id, [any_shard(-charge.size, charge.size, unreferenced)])

    return transact(write)


def is_charged(project_id: int, digest: str) -> bool:
    return reads.get_item(charge_key(project_id, digest), ("size",)) is not None


def delete_all(project_id: int) -> None:
    """Forget the usage of a project that is gone."""
    for shard in range(SHARDS):
        for _ in retrying.attempts(retrying.LOW):
            if _delete_total(project_id, shard):
                break
        partition = _partition(project_id, shard)
        for item in reads.query_all(settings().projects_table, partition, CHARGE_PREFIX, ("size",)):
            write_if(tables.ChargeItem(partition, item["sk"]).delete)


def _delete_total(project_id: int, shard: int) -> bool:
    """Take a total off the sum of all, and away. False when it has changed meanwhile: a charge may be being freed."""
    partition = _partition(project_id, shard)
    item = reads.get_item(Key(settings().projects_table, partition, _TOTAL))
    if item is None:
        return True
    if "changes" not in item:
        return write_if(tables.TotalItem(partition, _TOTAL).delete, condition=tables.TotalItem.changes.does_not_exist())

    def write(transaction: TransactWrite) -> None:
        transaction.delete(tables.TotalItem(partition, _TOTAL), condition=tables.TotalItem.changes == item["changes"])
        _add_stored(transaction, -item["used"])

    return transact(write)


def _add_stored(transaction: TransactWrite, used: int) -> None:
    shard = random.randrange(STORED_SHARDS)  # noqa: S311 -- which one does not matter
    transaction.update(tables.StoredItem(f"{_STORED}|{shard}", _STORED), actions=[tables.StoredItem.used.add(used)])


def _partition(project_id: int, shard: int | str) -> str:
    return f"usage|{padded(project_id)}|{shard}"


def _condition(adjustment: Adjustment) -> Condition | None:
    if adjustment.least is not None:
        return tables.TotalItem.room >= adjustment.least
    if adjustment.changes is None:
        return None
    if not adjustment.changes:
        return tables.TotalItem.changes.does_not_exist()  # none of it may be there but unreferenced bytes
    return tables.TotalItem.changes == adjustment.changes
