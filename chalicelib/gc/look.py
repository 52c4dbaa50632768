"""Whether something is still needed: the look of docs/gc.md, at a blob or a manifest, by the edges onto it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from chalicelib.gc.orphans import sort
from chalicelib.gc.records import Times
from chalicelib.gc.store import blobs
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store.blobs import Blob, Edge, Link


class Hold(Enum):
    """What the edges onto something say."""

    HELD = "a committed manifest names it"
    PENDING = "a push that is in progress names it, or one that was cut off"
    FREE = "nothing names it"


@dataclass(frozen=True)
class Inspection:
    """What was seen of a blob. `orphans` are edges that are older than the window and of no commit that stands."""

    blob: Blob | None
    hold: Hold
    links: Sequence[Link] = ()
    orphans: Sequence[Edge] = ()
    holders: frozenset[tuple[str, str]] = field(default=frozenset())
    """Repository and digest of committed manifests that name it: all of them only when all were asked for."""


def inspect_blob(digest: str, times: Times, *, every: bool = False) -> Inspection:
    """Look at a blob. One call for what nothing names; what is held is seen at the first committed edge.

    The record is read before the edges or with them, and it counts only while its version stands: whoever pushes
    writes an edge first, so either the edge is seen here, or the push sees that the blob is condemned and touches it.
    """
    blob: Blob | None = None
    links: list[Link] = []
    orphans: list[Edge] = []
    pending = False
    holders: set[tuple[str, str]] = set()
    for page in blobs.partition(digest):
        blob = blob or page.blob
        links += page.links
        held, young, old = sort(page.edges, times)
        holders |= {(edge.repository, edge.manifest) for edge in held}
        orphans += old
        pending = pending or bool(young)
        if holders and not every:
            break
    hold = Hold.HELD if holders else Hold.PENDING if pending or orphans else Hold.FREE
    return Inspection(blob, hold, links, orphans, frozenset(holders))


def inspect_manifest(repository: str, digest: str, times: Times) -> tuple[Hold, frozenset[tuple[str, str]]]:
    """Whether an index holds a manifest, and which do."""
    edges = blob_table.edges_onto(blob_table.manifest_target(repository, digest))
    held, young, _ = sort(edges, times)
    hold = Hold.HELD if held else Hold.PENDING if young else Hold.FREE
    return hold, frozenset((edge.repository, edge.manifest) for edge in held)
