"""The Projects table: the directory of projects, public and private ones apart, and how many repositories they have.

Lists read it instead of the projects: an entry is a name, so that a page of DynamoDB holds some fifteen thousand. The
sums are kept in SHARDS parts for each kind, so that repositories of different projects can be made at once. Every
transaction that makes, changes or deletes a project, or makes or deletes a repository, keeps both, so they are exact.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.projects.records import Project
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

SHARDS = 16

_TOTALS = "totals"


@dataclass(frozen=True)
class Totals:
    """How many projects of a kind there are, and how many repositories in them."""

    projects: int = 0
    repositories: int = 0


def totals() -> dict[bool, Totals]:
    """The sums of the public projects (True) and of the private ones: one call."""
    sums = {True: Totals(), False: Totals()}
    for item in reads.query_all(settings().projects_table, _TOTALS, ""):
        public = item["sk"].startswith(f"{_kind(public=True)}|")
        known = sums[public]
        sums[public] = Totals(known.projects + item["projects"], known.repositories + item["repositories"])
    return sums


def names(*, public: bool) -> list[str]:
    """The name of every project of a kind, in byte order."""
    return [item["sk"] for item in reads.query_all(settings().projects_table, _partition(public=public), "")]


def first_names(pages: int, *, public: bool) -> tuple[list[str], bool]:
    """The names on the first pages of DynamoDB of those that `names` lists, and whether these are all."""
    found, after = [], ""
    for _ in range(pages):
        items, after = reads.query(settings().projects_table, _partition(public=public), "", after=after)
        found += [item["sk"] for item in items]
        if not after:
            break
    return found, not after


def starting(text: str, limit: int, *, public: bool) -> list[str]:
    """Up to `limit` of the names that start with `text`."""
    items, _ = reads.query(settings().projects_table, _partition(public=public), text, limit=limit)
    return [item["sk"] for item in items]


def page(start: int, limit: int, *, public: bool) -> list[str]:
    """The names with the indexes `start` up to `start + limit` of those that `names` lists."""
    items = reads.query_page(settings().projects_table, _partition(public=public), "", start, limit)
    return [item["sk"] for item in items]


def add(transaction: TransactWrite, name: str, *, public: bool, repositories: int = 0) -> None:
    """Enter a project of this many repositories."""
    transaction.save(tables.ListedItem(_partition(public=public), name))
    count(transaction, name, public=public, projects=1, repositories=repositories)


def remove(transaction: TransactWrite, name: str, *, public: bool, repositories: int = 0) -> None:
    """Strike out a project that is entered with this many repositories."""
    transaction.delete(tables.ListedItem(_partition(public=public), name))
    count(transaction, name, public=public, projects=-1, repositories=-repositories)


def count(transaction: TransactWrite, name: str, *, public: bool, projects: int = 0, repositories: int = 0) -> None:
    """Add to the sums, in the part that the project of this name counts in."""
    shard = zlib.crc32(name.encode()) % SHARDS
    transaction.update(
        tables.TotalsItem(_TOTALS, f"{_kind(public=public)}|{shard:02d}"),
        actions=[tables.TotalsItem.projects.add(projects), tables.TotalsItem.repositories.add(repositories)],
    )


def enter(project: Project) -> bool:
    """Enter a project that was made before there was a directory. False when it is entered, or has changed."""

    def write(transaction: TransactWrite) -> None:
        entry = tables.ListedItem(_partition(public=project.public), project.name)
        transaction.save(entry, condition=tables.ListedItem.pk.does_not_exist())
        count(transaction, project.name, public=project.public, projects=1, repositories=project.repositories)
        same = (tables.ProjectItem.repositories == project.repositories) & (tables.ProjectItem.public == project.public)
        transaction.condition_check(tables.ProjectItem, "project", project.name, condition=same)

    return transact(write)


def _partition(*, public: bool) -> str:
    return f"listed|{_kind(public=public)}"


def _kind(*, public: bool) -> str:
    return "public" if public else "private"
