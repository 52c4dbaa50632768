"""All artifacts of a project, a page at a time: by repository, and the newest of each first.

A repository's entry in the catalog counts its artifacts, so the entries alone say in which repositories a page lies:
only those are read. They are some thousands a query; what a page costs beside that grows with the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from chalicelib.oci.errors import TooMuchToRead
from chalicelib.registry.store import artifacts as table
from chalicelib.registry.store import repositories
from chalicelib.registry.store.artifacts import Artifact

_SIDE_BY_SIDE = 8
_READ_LIMIT = 20_000
"""Artifacts that a filter or another order reads: some seconds."""


def page(project: str, start: int, size: int) -> tuple[list[Artifact], int]:
    """Up to `size` artifacts from the one with index `start`, and how many there are in all."""
    total, parts = 0, []
    for name, count, _ in repositories.counts(project):
        first = max(start - total, 0)
        wanted = min(count - first, start + size - total - first)
        if wanted > 0:
            parts.append((name, first, wanted))
        total += count
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        pages = pool.map(lambda part: table.read_page(*part), parts)
        return [artifact for found in pages for artifact in found], total


def latest_page(project: str, start: int, size: int) -> tuple[list[Artifact], int]:
    """As `page`, of the newest artifact of each repository alone."""
    names = [name for name, count, _ in repositories.counts(project) if count]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        pages = pool.map(lambda name: table.read_page(name, 0, 1), names[start : start + size])
        return [artifact for found in pages for artifact in found], len(names)


def read_all(project: str, *, latest: bool) -> Iterator[Artifact]:
    """Every artifact, or the newest of each repository: for callers that want another order, or some of them.

    Raises TooMuchToRead for more than a request may read.
    """
    counts = [(name, count) for name, count, _ in repositories.counts(project) if count]
    if sum(1 if latest else count for _, count in counts) > _READ_LIMIT:
        raise TooMuchToRead(f"more than {_READ_LIMIT} artifacts are not filtered or sorted at once: ask for pages")
    names = [name for name, _ in counts]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for found in pool.map(lambda name: table.read_page(name, 0, 1) if latest else table.read_all(name), names):
            yield from found
