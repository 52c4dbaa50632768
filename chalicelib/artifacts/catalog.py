"""The repositories of all projects that a caller may know of, by name."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice

from chalicelib.access.visibility import Visibility, read_each
from chalicelib.oci.names import project_of
from chalicelib.registry.store import repositories as table

SEARCH_CALLS = 20
"""That a search reads names in, of each kind: 200,000 repositories, and some 300,000 projects."""

_PROJECTS_AT_ONCE = 100
_NAMES_AT_ONCE = 10_000
"""Of some 80 bytes each: nearly what a page of DynamoDB holds (1 MB)."""


@dataclass(frozen=True)
class Found:
    """Names, and whether all there are were looked at, until there were enough."""

    names: list[str]
    is_complete: bool


def page(visible: Visibility, start: int, size: int) -> list[str]:
    """The names with the indexes `start` up to `start + size`.

    What is skipped is read too, of who sees everything; of others, the projects whose repositories are skipped.
    """
    if visible.everything:
        return table.names_page(start, size)
    return list(islice(_of_projects(visible, start, size), size))


def holding(projects: Container[str] | None, text: str, limit: int) -> Found:
    """Up to `limit` of the names that hold `text` and are of `projects` (None: of all), in byte order.

    Names are read until there are so many, in SEARCH_CALLS calls at most. If that does not reach their end, those that
    start with `text` are found all the same.
    """

    def is_found(name: str) -> bool:
        return text in name and (projects is None or project_of(name) in projects)

    found: list[str] = []
    after = ""
    for _ in range(SEARCH_CALLS):
        names, after = table.names_run(after, _NAMES_AT_ONCE)
        found += filter(is_found, names)
        if len(found) >= limit or not after:
            return Found(found[:limit], True)
    return Found(sorted({*found, *filter(is_found, table.names_starting(text, limit))})[:limit], False)


def _of_projects(visible: Visibility, skip: int, size: int) -> Iterator[str]:
    # With its slash, a project sorts where its repositories do: `a-b/x` stands before `a/x`.
    names = sorted(visible.names(), key=lambda name: f"{name}/")
    for first in range(0, len(names), _PROJECTS_AT_ONCE):
        for project in read_each(names[first : first + _PROJECTS_AT_ONCE]):
            if skip < project.repositories:
                yield from (each.name for each in table.read_page(project.name, skip, size))
            skip = max(0, skip - project.repositories)
