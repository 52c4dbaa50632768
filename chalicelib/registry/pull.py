"""Pulling: a manifest by tag or digest.

A manifest's bytes never change under their digest, so a warm process keeps the ones it served; whether the tag or the
digest still exists is asked of the table each time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from chalicelib.oci import digests
from chalicelib.oci.accessories import Accessory
from chalicelib.oci.errors import ManifestUnknown, Unavailable
from chalicelib.registry.store import manifests as table
from chalicelib.registry.store import standings
from chalicelib.registry.store.standings import Signatures
from chalicelib.storage import blobstore

_CACHE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class PulledManifest:
    digest: str
    media_type: str
    content: bytes


@dataclass(frozen=True)
class Standing:
    """What a project's policies look at."""

    accessory: Accessory | None
    """What the manifest is about."""
    signatures: Signatures


class _ContentCache:
    """Manifest bytes by digest, the least recently used dropped beyond `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._entries: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str) -> bytes | None:
        with self._lock:
            content = self._entries.get(digest)
            if content is not None:
                self._entries.move_to_end(digest)
            return content

    def put(self, digest: str, content: bytes) -> None:
        with self._lock:
            if digest in self._entries:
                return
            self._entries[digest] = content
            self._size += len(content)
            while self._size > self._limit:
                _, dropped = self._entries.popitem(last=False)
                self._size -= len(dropped)


_contents = _ContentCache(_CACHE_BYTES)


def manifest(repository: str, reference: str) -> PulledManifest:
    """The manifest that a tag or digest names. Raises ManifestUnknown.

    One read for a digest; one for a tag whose manifest is at hand, else two. Its media type is a tag's own either way.
    """
    if digests.is_digest(reference):
        return _by_digest(repository, reference)
    tag = table.read_tag(repository, reference)
    if tag is None:
        raise ManifestUnknown(f"{repository} has no tag {reference}")
    content = _contents.get(tag.digest)
    if content is not None:
        return PulledManifest(tag.digest, tag.media_type, content)
    return replace(_by_digest(repository, tag.digest), media_type=tag.media_type)


def with_standing(repository: str, reference: str) -> tuple[PulledManifest, Standing]:
    """As `manifest`, with what policies look at. Raises ManifestUnknown.

    One read for a digest, two for a tag.
    """
    digest = reference
    if not digests.is_digest(reference):
        tag = table.read_tag(repository, reference)
        if tag is None:
            raise ManifestUnknown(f"{repository} has no tag {reference}")
        digest = tag.digest
    for _ in range(2):
        found = standings.read(repository, digest)
        if found is None:
            raise ManifestUnknown(f"{repository} has no manifest {digest}")
        stored, accessory, signatures = found
        content = stored.content or _contents.get(digest) or blobstore.get(table.object_key(stored.generation))
        if content is not None:
            return PulledManifest(digest, stored.media_type, content), Standing(accessory, signatures)
    raise Unavailable(f"the manifest {digest} is being pushed again")


def _by_digest(repository: str, digest: str) -> PulledManifest:
    content = _contents.get(digest)
    if content is not None:
        media_type = table.read_media_type(repository, digest)
        if media_type is None:
            raise ManifestUnknown(f"{repository} has no manifest {digest}")
        return PulledManifest(digest, media_type, content)
    media_type, content = _read(repository, digest)
    _contents.put(digest, content)
    return PulledManifest(digest, media_type, content)


def _read(repository: str, digest: str) -> tuple[str, bytes]:
    """Media type and bytes. A large manifest that is pushed again moves to another object: then it is read again."""
    for _ in range(2):
        stored = table.read_stored(repository, digest)
        if stored is None:
            raise ManifestUnknown(f"{repository} has no manifest {digest}")
        content = stored.content or blobstore.get(table.object_key(stored.generation))
        if content is not None:
            return stored.media_type, content
    raise Unavailable(f"the manifest {digest} is being pushed again")
