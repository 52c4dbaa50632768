"""The Repositories table: the catalog, which lists the repositories of each project.

A repository's entry counts its manifests. It is written in the transactions that add a first manifest of a digest and
that delete one, so it is exact, and an empty repository is deleted on the condition that it is still empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.projects.store import directory
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import now, write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import CATALOG_PREFIX
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.expressions.condition import Condition
    from pynamodb.expressions.update import Action
    from pynamodb.transactions import TransactWrite

NAMES = "names"
_LIVE = "live"
_COUNTS = ("manifests", "accessories", "pulls")


@dataclass(frozen=True)
class Repository:
    """Times are milliseconds since 1970; `manifests` counts them, tagged or not."""

    name: str
    manifests: int
    description: str
    created: int
    updated: int
    pulls: int = 0
    accessories: int = 0

    @property
    def artifacts(self) -> int:
        """How many are listed: an accessory is shown with its subject."""
        return self.manifests - self.accessories


def catalog_key(repository: str) -> Key:
    project = repository.partition("/")[0]
    return Key(settings().repositories_table, f"{CATALOG_PREFIX}{project}", repository)


def exists(repository: str) -> bool:
    return reads.get_item(catalog_key(repository), ("created",)) is not None


def read(repository: str) -> Repository | None:
    item = reads.get_item(catalog_key(repository))
    return _to_repository(item) if item else None


def read_page(project: str, start: int, limit: int, *, descending: bool = False) -> list[Repository]:
    """Up to `limit` repositories of a project by name, from the one with index `start`."""
    partition = f"{CATALOG_PREFIX}{project}"
    items = reads.query_page(settings().repositories_table, partition, "", start, limit, descending=descending)
    return [_to_repository(item) for item in items]


def read_all(project: str) -> list[Repository]:
    items = reads.query_all(settings().repositories_table, f"{CATALOG_PREFIX}{project}", "")
    return [_to_repository(item) for item in items]


def names_of(project: str, first: str = "") -> Iterator[str]:
    """The repositories of a project by name, from `first` on: a page is read when it is come to."""
    return (found[0] for found in counts(project) if found[0] >= first)


def read_each(names: Iterable[str]) -> dict[str, Repository]:
    """The repositories of these names that exist, by name: one call for each hundred."""
    items = reads.get_items(catalog_key(name) for name in names)
    return {item["sk"]: _to_repository(item) for item in items.values()}


def counts(project: str) -> Iterator[tuple[str, int, int]]:
    """Name and numbers of artifacts and of pulls of each repository of a project: a page is read when it is come to."""
    after, more = "", True
    while more:
        partition = f"{CATALOG_PREFIX}{project}"
        items, after = reads.query(settings().repositories_table, partition, "", after=after, attributes=_COUNTS)
        yield from (
            (item["sk"], item["manifests"] - item.get("accessories", 0), item.get("pulls", 0)) for item in items
        )
        more = bool(after)


def read_names(project: str, after: str, limit: int) -> tuple[list[str], str]:
    """Up to `limit` repositories of a project behind `after`, by name, and which to go on behind, empty at the end."""
    partition = f"{CATALOG_PREFIX}{project}"
    table = settings().repositories_table
    items, more = reads.query(table, partition, "", after=after, limit=limit, attributes=("created",))
    return [item["sk"] for item in items], more


def enter_name(repository: str) -> bool:
    """Enter a repository that was made before there was one catalog of all. False when it is gone."""
    key = catalog_key(repository)

    def write(transaction: TransactWrite) -> None:
        transaction.save(tables.NameItem(NAMES, repository))
        transaction.condition_check(tables.CatalogItem, key.pk, key.sk, condition=tables.CatalogItem.pk.exists())

    return transact(write)


def names(after: str, limit: int) -> list[str]:
    """Up to `limit` repositories of all projects, behind `after` in byte order."""
    items, _ = reads.query(settings().repositories_table, NAMES, "", after=after, limit=limit)
    return [item["sk"] for item in items]


def names_run(after: str, limit: int) -> tuple[list[str], str]:
    """One call's part of what `names` lists, and which to go on behind, empty at the end."""
    items, more = reads.query(settings().repositories_table, NAMES, "", after=after, limit=limit)
    return [item["sk"] for item in items], more


def names_starting(text: str, limit: int) -> list[str]:
    """Up to `limit` of the names of all repositories that start with `text`."""
    items, _ = reads.query(settings().repositories_table, NAMES, text, limit=limit)
    return [item["sk"] for item in items]


def names_page(start: int, limit: int) -> list[str]:
    """The names with the indexes `start` up to `start + limit` of all repositories."""
    return [item["sk"] for item in reads.query_page(settings().repositories_table, NAMES, "", start, limit)]


def add_manifest(transaction: TransactWrite, repository: str, *, known: bool, public: bool, is_accessory: bool) -> None:
    """Count a new manifest, in a repository that is still there; or, when it is not `known`, in a new one.

    A new one needs a project that is still there and still as `public`: one without repositories may be deleted.
    """
    key = catalog_key(repository)
    actions: list[Action] = [
        tables.CatalogItem.created.set(tables.CatalogItem.created | now()),
        tables.CatalogItem.updated.set(now()),
        tables.CatalogItem.manifests.add(1),
        *([tables.CatalogItem.accessories.add(1)] if is_accessory else []),
    ]
    if known:
        transaction.update(
            tables.CatalogItem(key.pk, key.sk), actions=actions, condition=tables.CatalogItem.pk.exists()
        )
        return
    transaction.update(
        tables.CatalogItem(key.pk, key.sk), actions=actions, condition=tables.CatalogItem.pk.does_not_exist()
    )
    transaction.save(tables.NameItem(NAMES, repository))
    condition = (tables.ProjectItem.state == _LIVE) & (tables.ProjectItem.public == public)
    _count_repository(transaction, repository, 1, public=public, condition=condition)


def _count_repository(
    transaction: TransactWrite, repository: str, by: int, *, public: bool, condition: Condition
) -> None:
    project = repository.partition("/")[0]
    actions: list[Action] = [tables.ProjectItem.repositories.add(by)]
    transaction.update(tables.ProjectItem("project", project), actions=actions, condition=condition)
    directory.count(transaction, project, public=public, repositories=by)


def count_accessory(transaction: TransactWrite, repository: str) -> None:
    """Count a manifest that is there already among the accessories."""
    key = catalog_key(repository)
    actions: list[Action] = [tables.CatalogItem.accessories.add(1)]
    transaction.update(tables.CatalogItem(key.pk, key.sk), actions=actions, condition=tables.CatalogItem.pk.exists())


def remove_manifest(transaction: TransactWrite, repository: str, *, is_accessory: bool) -> None:
    """Count a manifest no longer."""
    key = catalog_key(repository)
    actions: list[Action] = [tables.CatalogItem.manifests.add(-1), tables.CatalogItem.updated.set(now())]
    if is_accessory:
        actions.append(tables.CatalogItem.accessories.add(-1))
    transaction.update(tables.CatalogItem(key.pk, key.sk), actions=actions, condition=tables.CatalogItem.pk.exists())


def describe(repository: str, description: str) -> bool:
    """Set the description. False when there is no such repository."""
    key = catalog_key(repository)
    actions = [tables.CatalogItem.description.set(description), tables.CatalogItem.updated.set(now())]
    return write_if(
        tables.CatalogItem(key.pk, key.sk).update, actions=actions, condition=tables.CatalogItem.pk.exists()
    )


def delete_empty(repository: str, event: Event, *, public: bool) -> bool:
    """Take a repository without manifests out of the catalog of its project.

    False when it has one, or is not there, or the project is not as `public` any more.
    """
    key = catalog_key(repository)

    def write(transaction: TransactWrite) -> None:
        transaction.delete(tables.CatalogItem(key.pk, key.sk), condition=tables.CatalogItem.manifests == 0)
        transaction.delete(tables.NameItem(NAMES, repository))
        _count_repository(transaction, repository, -1, public=public, condition=tables.ProjectItem.public == public)
        audit.record(transaction, event)

    return transact(write)


def _to_repository(item: Item) -> Repository:
    return Repository(
        item["sk"],
        item["manifests"],
        item.get("description", ""),
        item["created"],
        item["updated"],
        item.get("pulls", 0),
        item.get("accessories", 0),
    )
