"""Bringing a tag of a proxy project up to date in the background, so that the next pull finds it here.

What the tag stands for upstream is fetched whole, and only then does the tag move: should upstream fail meanwhile, the
image before is there, whole. Of an index those platforms are fetched that the one before was pulled for. What the
project has no room for is not begun.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from chalicelib.oci import manifests
from chalicelib.oci.errors import DigestInvalid, ManifestInvalid, ManifestUnknown, TooLarge, Unavailable
from chalicelib.oci.manifests import Manifest
from chalicelib.projects import quotas
from chalicelib.projects.store import usage
from chalicelib.proxycache import connections, filling, pulling
from chalicelib.proxycache.sources import Source
from chalicelib.registry import pull, push
from chalicelib.registry.store import artifacts, listings
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as table
from chalicelib.registry.store import pulls as pull_table
from chalicelib.registry.store.manifests import Tag
from chalicelib.upstreams.errors import UpstreamContentInvalid, UpstreamNotFound

UNCHANGED, UPDATED, GONE = "unchanged", "updated", "gone upstream"
KEPT, MOVED = "kept by a rule of the project", "deleted or moved by others meanwhile"

_FILL_SECONDS = 240.0
"""How long the blobs of an image are waited for: a function has 15 minutes at most, and other tags to look after."""
_DAY_MS = 86_400_000
_Platform = tuple[str, ...]


def wanted(repository: str, days: int, moment: int) -> list[str]:
    """The tags of a repository that were pulled in the `days` before `moment`, by name; with 0 days all of them.

    A pull of a tag's digest, as docker's after a HEAD of the tag, counts too.
    """
    by_digest = listings.tags_by_digest(repository)
    tags = [tag for each in by_digest.values() for tag in each]
    if days:
        pulled = artifacts.pulled(repository)
        since = moment - days * _DAY_MS
        tags = [tag for tag in tags if max(tag.pulled or 0, pulled.get(tag.digest, 0)) >= since]
    return sorted(tag.name for tag in tags)


def refresh(source: Source, tag: str) -> str:
    """Bring a tag up to date. Returns what came of it.

    Raises UpstreamErrors; QuotaExceeded, or what else a fill has failed with; Unavailable when that takes long.
    """
    before = table.read_tag(source.repository, tag)
    if before is None:
        return GONE
    try:
        with connections.held(source.project):
            told = source.upstream.head_manifest(source.remote, tag)
    except UpstreamNotFound:
        return GONE
    if told.digest == before.digest:
        return UNCHANGED
    if pulling.is_kept(source.repository, tag):
        return KEPT
    old = pull.manifest(source.repository, before.digest)
    platforms = _pulled_platforms(source.repository, manifests.stored(old.content, old.media_type))
    new = _fetch(source, told.digest, platforms)
    last = _last_pull(source.repository, before)
    if not _is_still(source.repository, before):
        return MOVED
    push.manifest(source.repository, tag, new.content, new.media_type, pulling.ACTOR, digest=told.digest)
    if last:
        # The tag's history goes on, so that it is not taken for one that nobody pulls: by retention, or the next run.
        pull_table.set_times(source.repository, told.digest, last, {tag: last})
    return UPDATED


def _is_still(repository: str, before: Tag) -> bool:
    """Whether a tag points where it did minutes ago: a pull may have moved it further, or somebody deleted it."""
    present = table.read_tag(repository, before.name)
    return present is not None and present.digest == before.digest


def _fetch(source: Source, digest: str, platforms: frozenset[_Platform]) -> Manifest:
    """Have a manifest here, with its blobs, or with the children for `platforms` and theirs."""
    parsed = _read(source, digest)
    _require_room(source, digest, parsed)
    for child in _children(parsed, platforms):
        _fetch(source, child, platforms)
    if table.read_media_type(source.repository, digest) is None:
        push.manifest(source.repository, digest, parsed.content, parsed.media_type, pulling.ACTOR)
    _fill(source, parsed)
    return parsed


def _read(source: Source, digest: str) -> Manifest:
    """The manifest, from upstream unless it is here."""
    try:
        local = pull.manifest(source.repository, digest)
        media_type, content = local.media_type, local.content
    except ManifestUnknown:
        with connections.held(source.project):
            media_type, content, _ = source.upstream.get_manifest(source.remote, digest)
    try:
        return manifests.parse(content, media_type)
    except (ManifestInvalid, DigestInvalid, TooLarge) as error:
        raise UpstreamContentInvalid(f"what upstream has as {digest} is no manifest: {error}") from error


def _require_room(source: Source, digest: str, parsed: Manifest) -> None:
    """Raises QuotaExceeded unless all that a manifest names fits the project, as far as it is not charged already."""
    sizes = {digest: len(parsed.content), **pulling.sizes(parsed)}
    charged = usage.read_charges(source.project.project_id, sizes)
    missing = sum(size for each, size in sizes.items() if each not in charged)
    if missing:
        quotas.require_room(source.repository, missing)


def _fill(source: Source, parsed: Manifest) -> None:
    """Have the blobs fetched, and wait for them. Raises what a fill has failed with, or Unavailable."""
    registry = source.project.registry_id
    filling.ensure(source.repository, parsed.blobs, registry, pulling.sizes(parsed))
    deadline = time.monotonic() + _FILL_SECONDS
    for digest in parsed.blobs:
        while not _is_here(source.repository, digest):
            state = filling.state(source.repository, digest, registry)
            if state.error is not None and not _is_here(source.repository, digest):
                raise state.error
            if time.monotonic() > deadline:
                raise Unavailable(f"the blob {digest} is still being fetched")
            if not state.is_running:
                filling.ensure(source.repository, [digest], registry)
            time.sleep(0.5)


def _is_here(repository: str, digest: str) -> bool:
    return bool(blob_table.read_sizes(repository, [digest]))


def _children(index: Manifest, platforms: frozenset[_Platform]) -> list[str]:
    """What an index names for `platforms`, without what is no manifest: those that pull an image need no such blob."""
    entries = index.document.get("manifests") or ()
    named = [entry for entry in entries if entry["mediaType"] in ("", *manifests.KNOWN_TYPES)]
    return [entry["digest"] for entry in named if _platform(entry) in platforms]


def _pulled_platforms(repository: str, index: Manifest) -> frozenset[_Platform]:
    """The platforms of those of an index's children that are here; none for an image."""
    here = table.read_records(repository, index.children)
    return frozenset(_platform(each) for each in index.document.get("manifests") or () if each["digest"] in here)


def _platform(entry: Mapping[str, Any]) -> _Platform:
    """What tells the children of an index apart (image-spec, image-index.md)."""
    platform = entry.get("platform")
    told = platform if isinstance(platform, dict) else {}
    return tuple(str(told.get(name, "")) for name in ("os", "architecture", "variant", "os.version"))


def _last_pull(repository: str, tag: Tag) -> int:
    """When somebody pulled what a tag points at, by the tag or by the digest; 0 for never."""
    by_tag = [each.pulled or 0 for each in listings.tags_of(repository, tag.digest) if each.name == tag.name]
    return max([artifacts.pulled(repository).get(tag.digest, 0), *by_tag])
