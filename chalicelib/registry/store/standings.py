"""The Repositories table: how a manifest stands with what policies ask for, read together with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.oci.accessories import Accessory
from chalicelib.registry.store import manifests
from chalicelib.registry.store.artifacts import signed_key
from chalicelib.registry.store.manifests import Stored
from chalicelib.storage import reads
from chalicelib.storage.reads import Item

_COUNTS = ("cosign", "notation")
_ATTRIBUTES = ("media_type", "content", "generation", "accessory_of", "accessory_kind", *_COUNTS)


@dataclass(frozen=True)
class Signatures:
    """How many signatures there are of each kind."""

    cosign: int
    notation: int


def read(repository: str, digest: str) -> tuple[Stored, Accessory | None, Signatures] | None:
    """A manifest, what it is about, and how many signatures it has: one call."""
    key, signed = manifests.manifest_key(repository, digest), signed_key(repository, digest)
    found = reads.get_items([key, signed], _ATTRIBUTES)
    item = found.get(key)
    if item is None:
        return None
    stored = Stored(item["media_type"], item.get("content"), item["generation"])
    return stored, manifests.accessory_in(item), _to_signatures(found.get(signed))


def signatures_of(repository: str, subjects: Sequence[str]) -> list[Signatures]:
    """How many signatures each of `subjects` has."""
    keys = [signed_key(repository, subject) for subject in subjects]
    found = reads.get_items(keys, _COUNTS)
    return [_to_signatures(found.get(key)) for key in keys]


def _to_signatures(item: Item | None) -> Signatures:
    return Signatures(item.get("cosign", 0), item.get("notation", 0)) if item else Signatures(0, 0)
