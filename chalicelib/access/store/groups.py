"""The Accounts table: user groups, and their names, unique among those of a type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import new_id
from chalicelib.storage.counters import account_number
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import GROUP, padded
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

GROUP_NAME_PREFIX = "group-name|"


@dataclass(frozen=True)
class Group:
    """`kind` is Harbor's number of its type. `version` is fresh with every write of the record."""

    number: int
    name: str
    kind: int
    version: str


def read(number: int) -> Group | None:
    item = reads.get_item(Key(settings().accounts_table, GROUP, padded(number)))
    return _to_group(item) if item else None


def read_all() -> list[Group]:
    """Every group, by number."""
    return [_to_group(item) for item in reads.query_all(settings().accounts_table, GROUP, "")]


def read_numbers(kind: int, names: Iterable[str]) -> dict[str, int]:
    """The numbers of the groups with these names that there are: one call for each hundred."""
    keys = {Key(settings().accounts_table, _names(kind), name): name for name in names}
    return {keys[key]: int(item["number"]) for key, item in reads.get_items(keys, ("number",)).items()}


def create(kind: int, name: str) -> Group | None:
    """Write a group with a number of its own, and its name. None when the name is taken."""
    group = Group(account_number(GROUP), name, kind, new_id())

    def write(transaction: TransactWrite) -> None:
        taken = tables.NumberItem.pk.does_not_exist()
        transaction.save(tables.NumberItem(_names(kind), name, number=group.number), condition=taken)
        transaction.save(_to_item(group), condition=tables.GroupItem.pk.does_not_exist())

    return group if transact(write) else None


def rename(group: Group, name: str) -> bool:
    """Give a group another name. False when that is taken, or the group has changed since it was read."""

    def write(transaction: TransactWrite) -> None:
        renamed = Group(group.number, name, group.kind, new_id())
        transaction.save(_to_item(renamed), condition=tables.GroupItem.version == group.version)
        taken = tables.NumberItem.pk.does_not_exist()
        transaction.save(tables.NumberItem(_names(group.kind), name, number=group.number), condition=taken)
        transaction.delete(tables.NumberItem(_names(group.kind), group.name))

    return transact(write)


def delete(group: Group) -> bool:
    """Remove a group and its name. False when it has changed since it was read."""

    def write(transaction: TransactWrite) -> None:
        transaction.delete(_to_item(group), condition=tables.GroupItem.version == group.version)
        transaction.delete(tables.NumberItem(_names(group.kind), group.name))

    return transact(write)


def _names(kind: int) -> str:
    return f"{GROUP_NAME_PREFIX}{kind}"


def _to_item(group: Group) -> tables.GroupItem:
    return tables.GroupItem(GROUP, padded(group.number), name=group.name, kind=group.kind, version=group.version)


def _to_group(item: Item) -> Group:
    return Group(int(item["sk"]), item["name"], item["kind"], item["version"])
