"""The Blobs table as the collector reads and writes it (docs/gc.md, "Collector").

Every write names the version that was read, so that it loses to whoever has touched the record since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.registry.store.blobs import (
    BLOB,
    CONDEMNED,
    EDGE_PREFIX,
    LINK_PREFIX,
    LIVE,
    Blob,
    Edge,
    Link,
    blob_key,
    link_key,
    to_blob,
    to_edge,
    to_link,
)
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import new_id, now, write_if
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

_ITEMS = 25
"""Of a transaction: fewer than DynamoDB takes (100), so that clients' writes of the same items wait less."""

_PAGE = 200
"""Items of a partition read at once: enough for a blob that few name; one that many do is seen to be held early."""


@dataclass(frozen=True)
class Page:
    """Some of what a digest's partition holds: the record comes first, then the edges, then the links."""

    blob: Blob | None
    edges: Sequence[Edge]
    links: Sequence[Link]


def read_blobs(digests: Iterable[str]) -> list[Blob]:
    """The records that exist, strongly consistent: a call for each hundred."""
    found = reads.get_items(blob_key(digest) for digest in digests)
    return [to_blob(item) for item in found.values()]


def partition(digest: str) -> Iterator[Page]:
    """All that the table knows of a digest, strongly consistent: a page is read when it is come to."""
    after = ""
    while True:
        items, after = reads.query(settings().blobs_table, digest, "", after=after, limit=_PAGE)
        yield Page(
            next((to_blob(item) for item in items if item["sk"] == BLOB), None),
            [to_edge(item) for item in items if item["sk"].startswith(EDGE_PREFIX)],
            [to_link(item) for item in items if item["sk"].startswith(LINK_PREFIX)],
        )
        if not after:
            return


def condemn(blobs: Sequence[Blob]) -> list[Blob]:
    """Say that blobs are to go unless somebody touches them; returns those that have not changed since they were read.

    Some at once, which are a transaction; when one of them has changed, each by itself.
    """
    done: list[Blob] = []
    for start in range(0, len(blobs), _ITEMS):
        some = blobs[start : start + _ITEMS]
        done += some if _condemn_together(some) else [blob for blob in some if _condemn_together([blob])]
    return done


def _condemn_together(blobs: Sequence[Blob]) -> bool:
    def write(transaction: TransactWrite) -> None:
        for blob in blobs:
            transaction.update(
                tables.BlobItem(blob.digest, BLOB),
                actions=[
                    tables.BlobItem.state.set(CONDEMNED),
                    tables.BlobItem.version.set(new_id()),
                    tables.BlobItem.candidate_since.set(now()),
                ],
                condition=tables.BlobItem.version == blob.version,
            )

    return transact(write)


def clear(blob: Blob) -> bool:
    """Say that a blob is no garbage after all. False when it has changed since it was read."""
    return write_if(
        tables.BlobItem(blob.digest, BLOB).update,
        actions=[
            tables.BlobItem.state.set(LIVE),
            tables.BlobItem.version.set(new_id()),
            tables.BlobItem.candidate.remove(),
            tables.BlobItem.candidate_since.remove(),
        ],
        condition=tables.BlobItem.version == blob.version,
    )


def delete(doomed: Iterable[tuple[Blob, Sequence[Link]]]) -> list[tuple[Blob, Sequence[Link]]]:
    """Delete records, each with the links to it, that have not changed since they were read; others stay.

    Returns what was deleted.

    As many at once as a transaction holds; when one of them has changed, each by itself. Links over that limit go
    after their record; a link to another incarnation of the digest is left alone.
    """
    together: list[tuple[Blob, Sequence[Link]]] = []
    deleted: list[tuple[Blob, Sequence[Link]]] = []
    for blob, links in doomed:
        own = [link for link in links if link.object_key == blob.object_key]
        if sum(1 + len(others) for _, others in together) + 1 + len(own) > _ITEMS:
            deleted += _delete_each(together)
            together = []
        together.append((blob, own))
    return deleted + _delete_each(together)


def _delete_each(doomed: Sequence[tuple[Blob, Sequence[Link]]]) -> list[tuple[Blob, Sequence[Link]]]:
    if not doomed or (len(doomed) > 1 and _delete_together(doomed)):
        return list(doomed)
    deleted: list[tuple[Blob, Sequence[Link]]] = []
    for blob, links in doomed:
        if _delete_together([(blob, links[: _ITEMS - 1])]):
            deleted.append((blob, links))
            for link in links[_ITEMS - 1 :]:
                key = link_key(link.repository, link.digest)
                write_if(
                    tables.LinkItem(key.pk, key.sk).delete, condition=tables.LinkItem.object_key == blob.object_key
                )
    return deleted


def _delete_together(doomed: Sequence[tuple[Blob, Sequence[Link]]]) -> bool:
    def write(transaction: TransactWrite) -> None:
        for blob, links in doomed:
            transaction.delete(tables.BlobItem(blob.digest, BLOB), condition=tables.BlobItem.version == blob.version)
            for link in links:
                key = link_key(link.repository, link.digest)
                # A client may have taken its link away meanwhile: that is no reason to keep the blob.
                gone_or_own = tables.LinkItem.pk.does_not_exist() | (tables.LinkItem.object_key == blob.object_key)
                transaction.delete(tables.LinkItem(key.pk, key.sk), condition=gone_or_own)

    return transact(write)
