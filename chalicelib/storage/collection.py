"""The Blobs table as the collector reads and writes it (docs/gc.md, "Collector").

Every write names the version that was read, so that it loses to whoever has touched the record since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pynamodb.transactions import TransactWrite

from chalicelib.settings import settings
from chalicelib.storage import reads
from chalicelib.storage.blobs import (
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
from chalicelib.storage.conditions import fresh, holds, now
from chalicelib.storage.tables.blobs import BlobItem, LinkItem
from chalicelib.storage.transactions import transact

_LINKS_A_TRANSACTION = 99
"""Beside the record: a transaction holds 100 items (DynamoDB quota)."""

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


def condemn(blob: Blob) -> bool:
    """Say that a blob is to go unless somebody touches it. False when it has changed since it was read."""
    return holds(
        BlobItem(blob.digest, BLOB).update,
        actions=[
            BlobItem.state.set(CONDEMNED),
            BlobItem.version.set(fresh()),
            BlobItem.candidate_since.set(now()),
        ],
        condition=BlobItem.version == blob.version,
    )


def clear(blob: Blob) -> bool:
    """Say that a blob is no garbage after all. False when it has changed since it was read."""
    return holds(
        BlobItem(blob.digest, BLOB).update,
        actions=[
            BlobItem.state.set(LIVE),
            BlobItem.version.set(fresh()),
            BlobItem.candidate.remove(),
            BlobItem.candidate_since.remove(),
        ],
        condition=BlobItem.version == blob.version,
    )


def delete(blob: Blob, links: Sequence[Link]) -> bool:
    """Delete a record with the links to it, at once. False when it has changed since it was read.

    Links over a transaction's limit go after it; a link to another incarnation of the digest is left alone.
    """
    own = [link for link in links if link.object_key == blob.object_key]
    first, rest = own[:_LINKS_A_TRANSACTION], own[_LINKS_A_TRANSACTION:]

    def write(transaction: TransactWrite) -> None:
        transaction.delete(BlobItem(blob.digest, BLOB), condition=BlobItem.version == blob.version)
        for link in first:
            key = link_key(link.repository, link.digest)
            # A client may have taken its link away meanwhile: that is no reason to keep the blob.
            gone_or_own = LinkItem.pk.does_not_exist() | (LinkItem.object_key == blob.object_key)
            transaction.delete(LinkItem(key.pk, key.sk), condition=gone_or_own)

    if not transact(write):
        return False
    for link in rest:
        key = link_key(link.repository, link.digest)
        holds(LinkItem(key.pk, key.sk).delete, condition=LinkItem.object_key == blob.object_key)
    return True
