"""Who refers to a blob or a manifest: edges that count (docs/gc.md)."""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store.blobs import Edge
from chalicelib.settings import settings
from chalicelib.storage.conditions import now


def is_held(edges: Iterable[Edge]) -> bool:
    """Whether any of `edges` is a committed manifest's, or may yet become one's.

    The edges were read before the generations are.
    """
    candidates = list(edges)
    recent = now() - settings().push_seconds * 1000
    if any(edge.created > recent for edge in candidates):
        return True
    generations = manifest_table.read_generations((edge.repository, edge.manifest) for edge in candidates)
    return any(generations.get((edge.repository, edge.manifest)) == edge.generation for edge in candidates)
