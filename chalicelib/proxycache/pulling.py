"""Pulling a manifest through a proxy project, by Harbor's rules.

By digest, a local copy is served, and upstream is asked only when there is none. By tag, upstream is asked each time
(at most once in a few seconds: freshness.py) what the tag stands for; of that the local copy is served, or fetched.
Where upstream does not answer, limits requests or refuses, it is the local copy that the tag pointed at last.

A HEAD fetches nothing: looking whether a tag has moved should not cost upstream a pull. Clients that HEAD a
tag pull the digest next: the tag waits for that (Harbor: `EnsureTag`).

What upstream has and Berth would not take from a pusher is handed on and not kept: the client gets the
bytes that it would get from upstream, under the digest that a HEAD told (Harbor, src/controller/proxy/controller.go:
`ProxyManifest` returns them, and keeps them in the background).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from chalicelib.events.records import Actor
from chalicelib.observability import logger
from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import DigestInvalid, Immutable, ManifestInvalid, ManifestUnknown, TooLarge
from chalicelib.oci.manifests import Manifest
from chalicelib.proxycache import connections, filling, freshness, traffic
from chalicelib.proxycache.freshness import Reply
from chalicelib.proxycache.sources import Source
from chalicelib.proxycache.store import replies
from chalicelib.registry import pull, push
from chalicelib.registry.pull import PulledManifest
from chalicelib.registry.store import manifests as table
from chalicelib.settings import settings
from chalicelib.upstreams.client import Descriptor
from chalicelib.upstreams.errors import UpstreamContentInvalid

ACTOR = Actor("harbor-proxyservice")
"""The actor of pushes of what was fetched, as Harbor names it (src/common/secret/store.go)."""

Read = Callable[[str], PulledManifest]
"""Reads a local manifest by its digest, as far as the project's policies let it be pulled. Raises ManifestUnknown."""


def get(source: Source, reference: str, read: Read) -> PulledManifest:
    """The manifest that a tag or digest names, fetched if need be.

    Raises ManifestUnknown, TooManyRequests or UpstreamFailed, what a push raises when it cannot be kept, and what
    `read` does.
    """
    if digests.is_digest(reference):
        return _by_digest(source, reference, read)
    reply = _asked(source, reference)
    if reply.error or reply.content is None:
        return _hit(source, read(_local(source, reference, reply).digest))
    digest = reply.content["digest"]
    try:
        return _hit(source, read(digest))
    except ManifestUnknown:
        fetched = _fetched(source, digest, reference)
    if not fetched.error and fetched.content:
        return _handed_on(digest, fetched.content)
    # Docker Hub limits the GETs alone, so that it may tell what it then does not send.
    return read(_local(source, reference, fetched).digest if fetched.error else digest)


def head(source: Source, reference: str) -> PulledManifest:
    """What a tag or digest names, as far as a HEAD tells: its content may be as many blanks. Raises as `get` does."""
    if digests.is_digest(reference):
        try:
            return pull.manifest(source.repository, reference)
        except ManifestUnknown:
            pass
    traffic.count_head(source.project.project_id)
    reply = _asked(source, reference)
    if reply.error or reply.content is None:
        return pull.manifest(source.repository, _local(source, reference, reply).digest)
    told = reply.content
    return PulledManifest(told["digest"], told["media_type"], b" " * told["size"])


def _by_digest(source: Source, digest: str, read: Read) -> PulledManifest:
    try:
        return _hit(source, read(digest))
    except ManifestUnknown:
        fetched = _fetched(source, digest)
    if fetched.error:
        raise freshness.refusal(fetched, f"{source.remote}@{digest}")
    return _handed_on(digest, fetched.content) if fetched.content else read(digest)


def _handed_on(digest: str, fetched: Mapping[str, Any]) -> PulledManifest:
    return PulledManifest(digest, fetched["media_type"], fetched["content"].encode())


def _hit(source: Source, found: PulledManifest) -> PulledManifest:
    traffic.count_hit(source.project.project_id, len(found.content))
    return found


def _fetched(source: Source, digest: str, tag: str = "") -> Reply:
    """Have a manifest fetched that is not here, for a client that pulls `tag`. No fetch is good for another time."""
    traffic.count_miss(source.project.project_id)
    return freshness.ask(source.origin, f"fetch|{digest}", partial(_fetch, source, digest, tag), 0)


def _asked(source: Source, reference: str) -> Reply:
    """What upstream says that `reference` stands for: a digest, a media type and a size."""
    question = f"manifest|{reference}"
    return freshness.ask(source.origin, question, partial(_ask, source, reference), settings().proxy_fresh_seconds)


def _ask(source: Source, reference: str) -> dict[str, Any]:
    with connections.held(source.project):
        told = source.upstream.head_manifest(source.remote, reference)
        if told.size < 0:
            told = _local_descriptor(source, told.digest) or _descriptor(source, reference)
    return vars(told) if digests.is_digest(reference) else _settle(source, reference, vars(told))


def _local_descriptor(source: Source, digest: str) -> Descriptor | None:
    record = table.read_record(source.repository, digest)
    return Descriptor(digest, record.media_type, record.size) if record is not None else None


def _descriptor(source: Source, reference: str) -> Descriptor:
    """What a manifest is by a GET, where a HEAD does not say."""
    media_type, content, digest = source.upstream.get_manifest(source.remote, reference)
    return Descriptor(digest, media_type, len(content))


def _settle(source: Source, tag: str, told: dict[str, Any]) -> dict[str, Any]:
    """Let a tag point at what upstream says, or wait for it. Returns what it stands for then.

    That is what it did before, when a rule of the project keeps the tag as it is.
    """
    before = table.read_tag(source.repository, tag)
    if before is not None and before.digest == told["digest"]:
        return told
    if before is not None and is_kept(source.repository, tag):
        record = table.read_record(source.repository, before.digest)
        if record is not None:
            return {"digest": record.digest, "media_type": record.media_type, "size": record.size}
    try:
        local = pull.manifest(source.repository, told["digest"])
    except ManifestUnknown:
        replies.wait_for(source.origin, told["digest"], tag)
    else:
        _put(source.repository, tag, local)
    return told


def is_kept(repository: str, tag: str) -> bool:
    from chalicelib.projects import immutability  # noqa: PLC0415 -- most pulls move no tag

    try:
        immutability.require_movable(repository, tag)
    except Immutable:
        return True
    return False


def _local(source: Source, tag: str, reply: Reply) -> table.Tag:
    """The local copy of what upstream gives no answer about. Raises what the client is told when there is none.

    A project that has no room serves no older image than upstream has: nobody would learn of it.
    """
    found = None if digests.is_digest(tag) else table.read_tag(source.repository, tag)
    is_gone = reply.error == freshness.UNKNOWN and not source.keeps_what_is_gone
    if found is None or is_gone or reply.error == freshness.FULL:
        raise freshness.refusal(reply, f"{source.remote}:{tag}")
    return found


def _fetch(source: Source, digest: str, tag: str) -> dict[str, Any]:
    """Fetch a manifest and put it, under the tags that wait for it, and have its blobs filled.

    Returns nothing of it, unless it cannot be kept.
    """
    if table.read_media_type(source.repository, digest) is not None:
        return {}  # somebody was faster
    with connections.held(source.project):
        media_type, content, _ = source.upstream.get_manifest(source.remote, digest)
    try:
        parsed = manifests.parse(content, media_type)
    except (ManifestInvalid, DigestInvalid, TooLarge) as error:
        # A project's policies can look at nothing that is not kept.
        if source.project.guards_pulls or not _is_like_manifest(content):
            raise UpstreamContentInvalid(f"what upstream has as {digest} is no manifest: {error}") from error
        logger.info("a manifest is not kept", extra={"digest": digest, "reason": str(error)})
        return {"media_type": media_type, "content": content.decode()}
    fetched = PulledManifest(digest, media_type, content)
    tagged = [_put(source.repository, each, fetched) for each in _tags(source.origin, digest, tag)]
    if not any(tagged):
        push.manifest(source.repository, digest, content, media_type, ACTOR)
    filling.ensure(source.repository, parsed.blobs, source.project.registry_id, sizes(parsed))
    return {}


def _is_like_manifest(content: bytes) -> bool:
    """Whether what Berth would not take is a manifest to some reader all the same."""
    try:
        document = json.loads(content.decode())
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("schemaVersion") == 2


def sizes(parsed: Manifest) -> dict[str, int]:
    """The sizes of the blobs that a repository must have for a manifest, as it says."""
    needed = frozenset(parsed.blobs)
    document = parsed.document
    entries = [document.get("config"), *(document.get("layers") or ()), *(document.get("blobs") or ())]
    return {entry["digest"]: entry["size"] for entry in entries if entry is not None and entry["digest"] in needed}


def _put(repository: str, tag: str, found: PulledManifest) -> bool:
    """Put a manifest under a tag. False when a rule of the project keeps the tag as it is."""
    try:
        push.manifest(repository, tag, found.content, found.media_type, ACTOR, digest=found.digest)
    except Immutable:
        return False
    return True


def _tags(origin: str, digest: str, tag: str) -> list[str]:
    """The tags that stand for `digest` upstream, by what it said last.

    So is `tag`, which it was asked for: while that was fetched, others may have learned that it stands for a newer one.
    """
    waiting = {*replies.waiting(origin, digest), *([tag] if tag else [])}
    asked = replies.read_each(origin, [f"manifest|{each}" for each in waiting])
    return [each for each in sorted(waiting) if _stands_for(asked.get(f"manifest|{each}"), digest)]


def _stands_for(asked: replies.CachedReply | None, digest: str) -> bool:
    content = asked.reply["content"] if asked is not None and asked.reply is not None else None
    return content is not None and content.get("digest") == digest
