"""The Accounts table: how many users there are, kept in SHARDS parts by the users' numbers.

Numbers follow one another, so users that are made at once are counted apart. Every transaction that makes or deletes a
user keeps its part, so the sum is exact; `complete` enters what was there before there was one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.reads import Item
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.expressions.update import Action
    from pynamodb.transactions import TransactWrite

SHARDS = 16

_COUNT = "user-count"


def total() -> int:
    """How many users there are, beside the administrator: one call."""
    return sum(item["users"] for item in _read().values())


def add(transaction: TransactWrite, number: int, users: int) -> None:
    """Count so many users more, in the part of the user with this number."""
    transaction.update(tables.UserCountItem(_COUNT, f"{number % SHARDS:02d}"), actions=_actions(users))


def complete(count: Callable[[], int]) -> None:
    """Enter the users that were there before they were counted, who `count` counts; nothing to do in most deploys."""
    while not (parts := _read()).get(0, {}).get("complete"):
        uncounted = count() - sum(item["users"] for item in parts.values())
        _enter(parts, uncounted)


def _enter(parts: Mapping[int, Item], uncounted: int) -> bool:
    """Count so many more. False when a user was made or deleted since the parts were read."""

    def write(transaction: TransactWrite) -> None:
        for shard in range(SHARDS):
            item = tables.UserCountItem(_COUNT, f"{shard:02d}")
            changes = parts[shard]["changes"] if shard in parts else None
            same = (
                tables.UserCountItem.pk.does_not_exist() if changes is None else tables.UserCountItem.changes == changes
            )
            if shard:
                transaction.condition_check(tables.UserCountItem, item.pk, item.sk, condition=same)
            else:
                actions = [*_actions(uncounted), tables.UserCountItem.complete.set(True)]
                transaction.update(item, actions=actions, condition=same)

    return transact(write)


def _actions(users: int) -> list[Action]:
    return [tables.UserCountItem.users.add(users), tables.UserCountItem.changes.add(1)]


def _read() -> dict[int, Item]:
    return {int(item["sk"]): item for item in reads.query_all(settings().accounts_table, _COUNT, "")}
