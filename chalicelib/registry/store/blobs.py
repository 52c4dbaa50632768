"""The Blobs table: blob records, repository links, and the edges that keep a digest alive (docs/gc.md)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chalicelib import retrying
from chalicelib.oci.errors import Unavailable
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.aws_json import RETRY_SECONDS
from chalicelib.storage.conditions import new_id, now, write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import shard

LIVE = "live"
CONDEMNED = "condemned"
DELETING = "deleting"

BLOB = "blob"
LINK_PREFIX = "link|"
EDGE_PREFIX = "edge|"

_BATCH_WRITE_LIMIT = 25
"""Items a BatchWriteItem takes (DynamoDB quota)."""


@dataclass(frozen=True)
class Blob:
    """What a digest points at. Times are milliseconds since 1970."""

    digest: str
    object_key: str
    size: int
    state: str
    version: str
    candidate_since: int | None


@dataclass(frozen=True)
class Link:
    """That a repository serves a blob: the blob of one upload, named by its object key."""

    repository: str
    digest: str
    object_key: str
    state: str
    version: str
    uploaded: bool = False
    """Whether an upload into this repository brought the bytes, and they count as unreferenced until charged."""


@dataclass(frozen=True)
class Edge:
    """That a commit (`generation`) of the manifest `manifest` in `repository` names `target`."""

    target: str
    repository: str
    manifest: str
    generation: str
    created: int

    @property
    def sort_key(self) -> str:
        return f"{EDGE_PREFIX}{self.repository}|{self.manifest}|{self.generation}"


def blob_key(digest: str) -> Key:
    return Key(settings().blobs_table, digest, BLOB)


def link_key(repository: str, digest: str) -> Key:
    return Key(settings().blobs_table, digest, f"{LINK_PREFIX}{repository}")


def to_blob(item: Item) -> Blob:
    return Blob(
        item["pk"], item["object_key"], item["size"], item["state"], item["version"], item.get("candidate_since")
    )


def to_link(item: Item) -> Link:
    repository = item["sk"].removeprefix(LINK_PREFIX)
    return Link(
        repository, item["pk"], item["object_key"], item["state"], item["version"], uploaded=item.get("uploaded", False)
    )


def to_edge(item: Item) -> Edge:
    _, repository, manifest, generation = item["sk"].split("|")
    return Edge(item["pk"], repository, manifest, generation, item["created"])


def read(repository: str, digest: str) -> tuple[Blob | None, Link | None]:
    """The record of `digest` and its link from `repository`: one call."""
    blob, link = blob_key(digest), link_key(repository, digest)
    found = reads.get_items([blob, link])
    return (
        to_blob(found[blob]) if blob in found else None,
        to_link(found[link]) if link in found else None,
    )


def read_record(digest: str) -> Blob | None:
    item = reads.get_item(blob_key(digest))
    return to_blob(item) if item else None


def read_records(digests: Iterable[str]) -> dict[str, Blob]:
    """The records that exist, by digest: a call for each hundred."""
    found = reads.get_items(blob_key(digest) for digest in digests)
    return {item["pk"]: to_blob(item) for item in found.values()}


def read_link(repository: str, digest: str) -> Link | None:
    item = reads.get_item(link_key(repository, digest))
    return to_link(item) if item else None


def read_sizes(repository: str, digests: Iterable[str]) -> dict[str, int]:
    """The size of each blob that `repository` serves, by digest."""
    keys = {digest: (blob_key(digest), link_key(repository, digest)) for digest in digests}
    found = reads.get_items(key for pair in keys.values() for key in pair)
    return {
        digest: found[blob]["size"]
        for digest, (blob, link) in keys.items()
        if blob in found and link in found and found[blob]["object_key"] == found[link]["object_key"]
    }


def links_in_project(digest: str, project: str, limit: int) -> list[str]:
    """Up to `limit` repositories of a project that are linked to `digest`."""
    items, _ = reads.query(settings().blobs_table, digest, f"{LINK_PREFIX}{project}/", limit=limit)
    return [item["sk"].removeprefix(LINK_PREFIX) for item in items]


def create(digest: str, object_key: str, size: int) -> bool:
    """Write the record of a blob that nothing refers to yet. False when the digest has a record already."""
    created = now()
    item = tables.BlobItem(
        digest,
        BLOB,
        object_key=object_key,
        size=size,
        state=LIVE,
        version=new_id(),
        created=created,
        candidate=shard(digest),
        candidate_since=created,
    )
    return write_if(item.save, condition=tables.BlobItem.pk.does_not_exist())


def touch(digest: str, object_key: str = "") -> bool:
    """Make a blob live and a candidate from now on: rescues a condemned one, renews a candidate, marks a live one.

    One write for all three, whoever else does it too; only a collector's writes name the version that they read, and
    so lose to it. False when the record is gone, or is another upload's than the one of `object_key`.
    """
    return write_if(
        tables.BlobItem(digest, BLOB).update,
        actions=[
            tables.BlobItem.state.set(LIVE),
            tables.BlobItem.version.set(new_id()),
            tables.BlobItem.candidate.set(shard(digest)),
            tables.BlobItem.candidate_since.set(now()),
        ],
        condition=tables.BlobItem.object_key == object_key if object_key else tables.BlobItem.pk.exists(),
    )


def put_link(repository: str, digest: str, object_key: str, *, uploaded: bool = False) -> None:
    key = link_key(repository, digest)
    link = tables.LinkItem(
        key.pk, key.sk, object_key=object_key, state=LIVE, version=new_id(), uploaded=uploaded or None
    )
    write_if(link.save)


def set_link_state(link: Link, state: str) -> str:
    """Write a link's state. Returns the new version, empty when the link changed since it was read."""
    key, version = link_key(link.repository, link.digest), new_id()
    written = write_if(
        tables.LinkItem(key.pk, key.sk).update,
        actions=[tables.LinkItem.state.set(state), tables.LinkItem.version.set(version)],
        condition=tables.LinkItem.version == link.version,
    )
    return version if written else ""


def delete_link(link: Link, version: str) -> bool:
    """Delete a link that still has `version`."""
    key = link_key(link.repository, link.digest)
    return write_if(tables.LinkItem(key.pk, key.sk).delete, condition=tables.LinkItem.version == version)


def manifest_target(repository: str, digest: str) -> str:
    """The partition of the edges onto a manifest: manifests live in a repository, blobs in the registry."""
    return f"{repository}@{digest}"


def write_edges(edges: Iterable[Edge]) -> None:
    """Write edges, 25 a call."""
    _batch_write(
        {"PutRequest": {"Item": {"pk": {"S": e.target}, "sk": {"S": e.sort_key}, "created": {"N": str(e.created)}}}}
        for e in edges
    )


def delete_edges(edges: Iterable[Edge]) -> None:
    """Delete edges, 25 a call. One that is gone already is no error."""
    _batch_write({"DeleteRequest": {"Key": {"pk": {"S": e.target}, "sk": {"S": e.sort_key}}}} for e in edges)


def edges_onto(target: str, repository: str = "") -> list[Edge]:
    """Every edge onto `target`, of one repository or of all; strongly consistent."""
    prefix = f"{EDGE_PREFIX}{repository}|" if repository else EDGE_PREFIX
    return [to_edge(item) for item in reads.query_all(settings().blobs_table, target, prefix)]


def edges_in_project(target: str, project: str) -> list[Edge]:
    """Every edge onto `target` from the repositories of one project; strongly consistent."""
    items = reads.query_all(settings().blobs_table, target, f"{EDGE_PREFIX}{project}/")
    return [to_edge(item) for item in items]


def missing(edges: Iterable[Edge]) -> list[Edge]:
    """Those of `edges` that are not written."""
    keys = {Key(settings().blobs_table, edge.target, edge.sort_key): edge for edge in edges}
    found = reads.get_items(keys, ("created",))
    return [edge for key, edge in keys.items() if key not in found]


def _batch_write(requests: Iterable[Mapping[str, object]]) -> None:
    """Write in batches; what DynamoDB leaves unprocessed, because it is throttled, goes last and slower."""
    pending = list(requests)
    deadline, pauses = time.monotonic() + RETRY_SECONDS, retrying.pauses(0.025, 1.0)
    while pending:
        batch, pending = pending[:_BATCH_WRITE_LIMIT], pending[_BATCH_WRITE_LIMIT:]
        answer = tables.connection().dispatch("BatchWriteItem", {"RequestItems": {settings().blobs_table: batch}})
        refused = answer.get("UnprocessedItems", {}).get(settings().blobs_table, [])
        if not refused:
            continue
        if time.monotonic() > deadline:
            raise Unavailable("the metadata store is throttled")
        pending += refused
        time.sleep(next(pauses))
