"""Edges that no commit owns: which they are, and how they go (docs/gc.md, "Sweep of orphans")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from chalicelib.gc.records import Times
from chalicelib.registry import charges
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store.blobs import Edge
from chalicelib.storage.conditions import now


def sort(edges: Sequence[Edge], times: Times) -> tuple[list[Edge], list[Edge], list[Edge]]:
    """Edges of commits that stand, of pushes that may be in progress, and orphans.

    The edges were read before the generations are (docs/gc.md, "Delete of a manifest", step 3).
    """
    since = now() - times.window
    generations = manifest_table.read_generations({(edge.repository, edge.manifest) for edge in edges})
    held, young, old = [], [], []
    for edge in edges:
        if generations.get((edge.repository, edge.manifest)) == edge.generation:
            held.append(edge)
        elif edge.created > since:
            young.append(edge)
        else:
            old.append(edge)
    return held, young, old


def of(edges: Sequence[Edge], times: Times) -> list[Edge]:
    """Those that are older than the window and of no commit that stands."""
    return sort(edges, times)[2]


def sweep(edges: Sequence[Edge]) -> None:
    """Mark what an edge names before the edge goes: else nobody would look at it again. Then free what it charged."""
    dropped: dict[str, set[str]] = defaultdict(set)
    for edge in edges:
        repository, _, digest = edge.target.rpartition("@")
        if repository:
            # An edge by which a project holds a manifest itself names no repository: nothing is marked then.
            manifest_table.mark_candidate(repository, digest)
        else:
            blob_table.touch(digest)
        dropped[edge.repository].add(digest)
    blob_table.delete_edges(edges)
    for repository, digests in dropped.items():
        charges.free(repository, digests)
