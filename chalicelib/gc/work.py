"""Work of a run that S3 holds: pages of candidates, and what a page is about to delete.

A state machine's states and a task's item are small (256 KB, 400 KB), a page of a thousand candidates is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from chalicelib.storage import blobstore, bulk
from chalicelib.storage.blobs import Blob

PREFIX = "gc/work/"
_RECONCILED = "gc/reconciled"
PAGE = 1000
"""Candidates of a page: as many objects as S3 deletes in one call."""

Stopped = Callable[[], bool]
"""Whether the run was told to end."""


@dataclass(frozen=True)
class Doomed:
    """A blob whose record is about to be deleted, and the object that goes after it."""

    digest: str
    object_key: str
    size: int

    @classmethod
    def of(cls, blob: Blob) -> Doomed:
        return cls(blob.digest, blob.object_key, blob.size)


def write_pages(run: str, name: str, candidates: Iterable[Any]) -> Iterator[str]:
    """Write candidates in pages; yields the name of each."""
    number, remaining = 0, iter(candidates)
    while entries := list(islice(remaining, PAGE)):
        page = f"{run}/{name}-{number}"
        write_page(page, entries)
        yield page
        number += 1


def write_page(page: str, entries: Sequence[Any]) -> None:
    blobstore.put(f"{PREFIX}{page}", json.dumps(entries, separators=(",", ":")).encode())


def has_page(page: str) -> bool:
    return blobstore.exists(f"{PREFIX}{page}")


def read_page(page: str) -> list[Any]:
    """What a page holds; empty when it is gone, as after the end of its run."""
    content = blobstore.get(f"{PREFIX}{page}")
    entries: list[Any] = json.loads(content) if content else []
    return entries


def read_doomed(page: str) -> list[Doomed]:
    """What an earlier try of a page was about to delete."""
    return [Doomed(**entry) for entry in read_page(f"{page}.doomed")]


def write_doomed(page: str, doomed: Sequence[Doomed]) -> None:
    write_page(f"{page}.doomed", [asdict(each) for each in doomed])


def reconciled() -> int:
    """When the last run began that has looked through everything, in milliseconds since 1970; 0 for none."""
    content = blobstore.get(_RECONCILED)
    return int(content) if content else 0


def note_reconciled(began: int) -> None:
    blobstore.put(_RECONCILED, str(began).encode())


def drop(run: str) -> None:
    """Delete all pages of a run."""
    for keys in bulk.pages(f"{PREFIX}{run}/"):
        bulk.delete([key for key, _ in keys])
