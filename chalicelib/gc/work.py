"""Work of a run that S3 holds: pages of candidates, and what a page is about to delete.

A state machine's states and a task's item are small (256 KB, 400 KB), a page of a thousand candidates is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, TypeVar

from chalicelib.registry.store.blobs import Blob
from chalicelib.storage import blobstore, bulk

PREFIX = "gc/work/"
_RECONCILED = "gc/reconciled"
_RESULT = ".result"
PAGE = 1000
"""Candidates of a page: as many objects as S3 deletes in one call."""


@dataclass(frozen=True)
class Doomed:
    """A blob whose record is about to be deleted, and the object that goes after it."""

    digest: str
    object_key: str
    size: int

    @classmethod
    def of(cls, blob: Blob) -> Doomed:
        return cls(blob.digest, blob.object_key, blob.size)


@dataclass(frozen=True)
class DoomedManifest:
    """A manifest that is about to be deleted, and how many others it names."""

    repository: str
    digest: str
    size: int
    children: int


D = TypeVar("D", Doomed, DoomedManifest)


def write_pages(run: str, name: str, candidates: Iterable[Any], size: int = PAGE) -> Iterator[str]:
    """Write candidates in pages of up to `size`; yields the name of each."""
    number, remaining = 0, iter(candidates)
    while entries := list(islice(remaining, size)):
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


def read_pages(prefix: str) -> Iterator[list[Any]]:
    """The pages whose names begin with `prefix`."""
    for keys in bulk.pages(f"{PREFIX}{prefix}"):
        for key, _ in keys:
            yield read_page(key.removeprefix(PREFIX))


def write_result(page: str, result: Mapping[str, Any]) -> None:
    """Write what a page has come to, in place of what an earlier try has written."""
    blobstore.put(f"{PREFIX}{page}{_RESULT}", json.dumps(result, separators=(",", ":")).encode())


def results(run: str, name: str = "") -> Iterator[Any]:
    """What the pages of a run have come to so far, of all or of those whose names begin with `name`."""
    for keys in bulk.pages(f"{PREFIX}{run}/{name}"):
        for key in (key for key, _ in keys if key.endswith(_RESULT)):
            content = blobstore.get(key)
            if content is not None:
                yield json.loads(content)


def read_doomed(page: str, kind: type[D]) -> list[D]:
    """What an earlier try of a page, of blobs or of manifests, was about to delete."""
    return [kind(**entry) for entry in read_page(f"{page}.doomed")]


def write_doomed(page: str, doomed: Iterable[Doomed | DoomedManifest]) -> None:
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
