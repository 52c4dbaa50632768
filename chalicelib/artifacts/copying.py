"""Copying an artifact to another repository: its manifests are pushed there, its blobs are mounted, no byte is moved.

As in Harbor (src/controller/artifact, Copy) what an index names comes along, and what is about any of it. What has
tags is pushed again, which changes nothing; what has none and is there already is not. So a copy that broke off, or was
more than fits a request, is completed by the next.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from chalicelib.artifacts import repositories
from chalicelib.events.records import Actor
from chalicelib.oci import manifests
from chalicelib.oci.errors import ManifestUnknown, Unavailable
from chalicelib.projects.errors import AccessoryAloneError
from chalicelib.registry import blobs, pull, push
from chalicelib.registry.store import artifacts
from chalicelib.registry.store import manifests as table

_SIDE_BY_SIDE = 8
_REQUEST_SECONDS = 20.0
"""How long one request copies: the gateway ends it at 30 seconds, and would leave it going on unseen."""


def copy(actor: Actor, source: str, reference: str, target: str) -> None:
    """Copy the artifact that `reference` names in the repository `source`, with all its tags, to `target`.

    Whether the caller may read the one and write to the other is not asked here again. Raises ArtifactNotFoundError,
    AccessoryAloneError, Unavailable when there is more than one request copies (the next one goes on), and what a push
    raises.
    """
    found = repositories.artifact(source, reference)
    if found.accessory is not None:
        raise AccessoryAloneError(f"{found.digest} is copied with its subject, {found.accessory.subject}")
    _Copy(actor, source, target).manifest(found.digest, tagged=True)


class _Copy:
    """One copy. It remembers what it has copied, for two artifacts can be about each other."""

    def __init__(self, actor: Actor, source: str, target: str) -> None:
        self._actor = actor
        self._source, self._target = source, target
        self._copied: set[str] = set()
        self._deadline = time.monotonic() + _REQUEST_SECONDS

    def manifest(self, digest: str, *, tagged: bool) -> None:
        """What a manifest names and what is about it before itself: so nobody pulls a part of it by its tags."""
        if digest in self._copied:
            return
        self._copied.add(digest)
        if time.monotonic() > self._deadline:
            raise Unavailable(f"{self._source} has more of this than one request copies: repeat it")
        pulled = pull.manifest(self._source, digest)
        parsed = manifests.stored(pulled.content, pulled.media_type)
        for child in parsed.children:
            self._child(child)
        for accessory in artifacts.accessories_of(self._source, digest):
            self.manifest(accessory.digest, tagged=True)
        tags = table.tags_of(self._source, digest) if tagged else []
        if not tags and table.read_media_type(self._target, digest) is not None:
            return
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            # The push says which of them are missing, if it needs them.
            list(pool.map(self._mount, parsed.references))
        for reference in tags or [digest]:
            push.manifest(self._target, reference, pulled.content, pulled.media_type, self._actor, digest=digest)

    def _child(self, digest: str) -> None:
        """Copy what an index names, if it is a manifest: a blob is mounted. The push says what is neither."""
        with suppress(ManifestUnknown):
            self.manifest(digest, tagged=False)

    def _mount(self, digest: str) -> bool:
        return blobs.link_from(self._source, self._target, digest)
