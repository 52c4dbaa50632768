"""The repositories of all projects that a caller may know of, by name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from chalicelib.access.visibility import Visibility, read_each
from chalicelib.registry.names import project_of
from chalicelib.storage import repositories as table

_PROJECTS_AT_ONCE = 100
_NAMES_AT_ONCE = 10_000
"""Of some 80 bytes each: nearly what a page of DynamoDB holds (1 MB)."""


def page(visible: Visibility, start: int, size: int) -> list[str]:
    """The names with the indexes `start` up to `start + size`.

    What is skipped is read too, of who sees everything; of others, the projects whose repositories are skipped.
    """
    if visible.everything:
        return table.names_page(start, size)
    return list(islice(_of_projects(visible, start, size), size))


def holding(visible: Visibility, text: str, limit: int) -> list[str]:
    """Up to `limit` of the names that hold `text`: names are read until there are so many."""
    projects = None if visible.everything else frozenset(visible.names())
    seen = (name for name in _all() if text in name and (projects is None or project_of(name) in projects))
    return list(islice(seen, limit))


def _all() -> Iterator[str]:
    names = table.names("", _NAMES_AT_ONCE)
    while names:
        yield from names
        names = table.names(names[-1], _NAMES_AT_ONCE)


def _of_projects(visible: Visibility, skip: int, size: int) -> Iterator[str]:
    # With its slash, a project sorts where its repositories do: `a-b/x` stands before `a/x`.
    names = sorted(visible.names(), key=lambda name: f"{name}/")
    for first in range(0, len(names), _PROJECTS_AT_ONCE):
        for project in read_each(names[first : first + _PROJECTS_AT_ONCE]):
            if skip < project.repositories:
                yield from (each.name for each in table.read_page(project.name, skip, size))
            skip = max(0, skip - project.repositories)
