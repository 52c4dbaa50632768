"""Labels, and which artifacts carry them: labels in the Projects table, what carries them in the Repositories table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.settings import settings
from chalicelib.storage import counters, reads, tables
from chalicelib.storage.conditions import new_id, now
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import MANIFEST_PREFIX, padded
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

LABEL = "label"
NAMES_PREFIX = "label-name|"
LABELS_PREFIX = "label|"
LABELLED_PREFIX = "labelled|"

GLOBAL = 0
"""The project's number of a label that all projects may use."""


@dataclass(frozen=True)
class Label:
    """`project_id` is the project's number, or GLOBAL. Times are milliseconds since 1970."""

    number: int
    project_id: int
    name: str
    description: str
    color: str
    created: int
    updated: int
    version: str


def next_number() -> int:
    return counters.project_number(LABEL)


def read(number: int) -> Label | None:
    item = reads.get_item(_key(number))
    return _to_label(item) if item else None


def read_all(project_id: int) -> list[Label]:
    """The labels of a project, or the global ones, by name."""
    names = reads.query_all(settings().projects_table, f"{NAMES_PREFIX}{padded(project_id)}", "")
    return _read_each([item["number"] for item in names])


def create(label: Label) -> bool:
    """Write a label. False when its name is taken."""

    def write(transaction: TransactWrite) -> None:
        _save_name(transaction, label)
        transaction.save(_to_item(label), condition=tables.LabelItem.pk.does_not_exist())

    return transact(write)


def replace(before: Label, after: Label) -> bool:
    """Write `after` in place of `before`. False when that has changed since it was read, or the new name is taken."""

    def write(transaction: TransactWrite) -> None:
        transaction.save(_to_item(after), condition=tables.LabelItem.version == before.version)
        if after.name != before.name:
            _save_name(transaction, after)
            transaction.delete(tables.LabelNameItem(f"{NAMES_PREFIX}{padded(before.project_id)}", before.name))

    return transact(write)


def delete(label: Label) -> bool:
    """Remove a label. False when it has changed since it was read. What carries it is detached after that."""

    def write(transaction: TransactWrite) -> None:
        transaction.delete(_to_item(label), condition=tables.LabelItem.version == label.version)
        transaction.delete(tables.LabelNameItem(f"{NAMES_PREFIX}{padded(label.project_id)}", label.name))

    return transact(write)


def attach(label: Label, repository: str, digest: str) -> bool:
    """Put a label on an artifact. False when it has it, or when one of the two is gone."""

    def write(transaction: TransactWrite) -> None:
        here, there = _both_ends(label.number, repository, digest)
        transaction.save(here, condition=tables.LabelledItem.pk.does_not_exist())
        transaction.save(there)
        manifest = f"{MANIFEST_PREFIX}{digest}"
        transaction.condition_check(
            tables.ManifestItem, repository, manifest, condition=tables.ManifestItem.pk.exists()
        )
        transaction.condition_check(
            tables.LabelItem, LABEL, padded(label.number), condition=tables.LabelItem.pk.exists()
        )

    return transact(write)


def detach(number: int, repository: str, digest: str) -> bool:
    """Take a label from an artifact. False when it has it not."""

    return transact(lambda transaction: remove_in(transaction, number, repository, digest))


def remove_in(transaction: TransactWrite, number: int, repository: str, digest: str) -> None:
    """Add to a transaction that an artifact carries a label no longer; it fails when that is so already."""
    here, there = _both_ends(number, repository, digest)
    transaction.delete(here, condition=tables.LabelledItem.pk.exists())
    transaction.delete(there)


def artifacts_with(number: int) -> list[tuple[str, str]]:
    """The artifacts that carry a label, as (repository, digest)."""
    items = reads.query_all(settings().repositories_table, f"{LABELLED_PREFIX}{padded(number)}", "", ("number",))
    return [(repository, digest) for repository, _, digest in (item["sk"].partition("|") for item in items)]


def labels_of(repository: str, digest: str) -> list[Label]:
    """The labels that an artifact carries, by number."""
    return _read_each(numbers_of(repository, digest))


def names_by_digest(repository: str) -> dict[str, list[str]]:
    """The names of the labels that artifacts of a repository carry."""
    items = reads.query_all(settings().repositories_table, repository, LABELS_PREFIX, ("number",))
    names = {label.number: label.name for label in _read_each(sorted({item["number"] for item in items}))}
    carried: dict[str, list[str]] = defaultdict(list)
    for item in items:
        if item["number"] in names:
            carried[item["sk"].split("|")[1]].append(names[item["number"]])
    return carried


def numbers_of(repository: str, digest: str) -> list[int]:
    items = reads.query_all(settings().repositories_table, repository, f"{LABELS_PREFIX}{digest}|", ("number",))
    return [item["number"] for item in items]


def numbers_by_digest(repository: str) -> dict[str, list[int]]:
    """The numbers of the labels of every artifact that carries one."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for item in reads.query_all(settings().repositories_table, repository, LABELS_PREFIX, ("number",)):
        numbers[item["sk"].split("|")[1]].append(item["number"])
    return numbers


def _read_each(numbers: Sequence[int]) -> list[Label]:
    keys = [_key(number) for number in numbers]
    found = reads.get_items(keys)
    return [_to_label(found[key]) for key in keys if key in found]


def _key(number: int) -> Key:
    return Key(settings().projects_table, LABEL, padded(number))


def _save_name(transaction: TransactWrite, label: Label) -> None:
    name = tables.LabelNameItem(f"{NAMES_PREFIX}{padded(label.project_id)}", label.name, number=label.number)
    transaction.save(name, condition=tables.LabelNameItem.pk.does_not_exist())


def _both_ends(number: int, repository: str, digest: str) -> tuple[tables.LabelledItem, tables.LabelledItem]:
    return (
        tables.LabelledItem(repository, f"{LABELS_PREFIX}{digest}|{padded(number)}", number=number),
        tables.LabelledItem(f"{LABELLED_PREFIX}{padded(number)}", f"{repository}|{digest}", number=number),
    )


def _to_item(label: Label) -> tables.LabelItem:
    return tables.LabelItem(
        LABEL,
        padded(label.number),
        project_id=label.project_id,
        name=label.name,
        description=label.description,
        color=label.color,
        created=label.created,
        updated=now(),
        version=new_id(),
    )


def _to_label(item: Item) -> Label:
    return Label(
        int(item["sk"]),
        item["project_id"],
        item["name"],
        item["description"],
        item["color"],
        item["created"],
        item["updated"],
        item["version"],
    )
