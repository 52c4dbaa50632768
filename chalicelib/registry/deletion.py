"""Deleting tags, manifests and blobs of a repository: mark, look for edges, delete (docs/gc.md)."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from chalicelib import retrying
from chalicelib.events.records import JOBS, Actor
from chalicelib.oci import accessories, digests, manifests
from chalicelib.oci.errors import BlobUnknown, Immutable, ManifestUnknown, Referenced, Unavailable
from chalicelib.oci.manifests import Manifest
from chalicelib.registry import attachments, blobs, pull, push, references
from chalicelib.registry import events as audited
from chalicelib.registry.preconditions import NONE, Preconditions
from chalicelib.registry.store import artifacts, removals
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store.blobs import DELETING, LIVE
from chalicelib.registry.store.manifests import Record

_REQUEST_SECONDS = 20.0
"""How long one request deletes: the gateway ends it at 30 seconds, and would leave it going on unseen."""
_NO_DEADLINE = math.inf
"""Of jobs, whose slices are minutes long."""
_TAGS_PER_TRANSACTION = 15
"""Each takes two of a transaction's 100 items, and so does each of up to 25 labels; the manifest needs room too."""


@dataclass(frozen=True)
class _Order:
    """What all that goes with a manifest is deleted by."""

    actor: Actor
    deadline: float = _NO_DEADLINE
    """By time.monotonic(): when it is past, nothing more is begun."""
    spares_tagged: bool = False
    """Whether a tag of its own keeps what is attached to a manifest, and the manifest."""
    subjects: frozenset[str] = frozenset()
    """All that are being deleted and so are not looked at again."""


def manifest(repository: str, reference: str, actor: Actor = JOBS, *, preconditions: Preconditions = NONE) -> None:
    """Delete a tag, or a manifest with all its tags and accessories, for `actor`.

    Source: distribution-spec, "Content Management".

    Raises ManifestUnknown, Referenced while an index names the manifest or an accessory of it, Immutable for a tag
    of theirs that must stay, or PreconditionFailed. Raises Unavailable too, before the gateway would give up, when
    there is more about a manifest than one request deletes: the next one goes on.
    """
    if digests.is_digest(reference):
        preconditions.require(reference)
        _delete_manifest(repository, reference, _Order(actor, time.monotonic() + _REQUEST_SECONDS))
    else:
        _delete_tag(repository, reference, actor, preconditions)


def _delete_manifest(repository: str, digest: str, order: _Order) -> None:
    pulled = pull.manifest(repository, digest)
    parsed = manifests.stored(pulled.content, pulled.media_type)
    for attempt in retrying.attempts(retrying.MEDIUM):
        record = manifest_table.read_record(repository, digest)
        if record is None and attempt == 0:
            raise ManifestUnknown(f"{repository} has no manifest {digest}")
        if record is None or _delete_unreferenced(record, parsed, order):
            return
    raise Unavailable(f"{repository}@{digest} is being changed by others")


def manifest_as_seen(
    repository: str,
    digest: str,
    generation: str,
    tags: Collection[str],
    actor: Actor = JOBS,
    *,
    spares_tagged: bool = False,
) -> bool:
    """Delete a manifest that is still what it was when it was looked at: the same commit, under the same tags.

    False, and it stays, when it was pushed or tagged since. `generation` may be empty: then the tags alone count.
    Raises as `manifest` does, and with `spares_tagged` Referenced too while an accessory has a tag of its own.
    """
    pulled = pull.manifest(repository, digest)
    parsed = manifests.stored(pulled.content, pulled.media_type)
    for _ in retrying.attempts(retrying.MEDIUM):
        record = manifest_table.read_record(repository, digest)
        if record is None or generation not in ("", record.generation):
            return False
        # Whoever adds a tag commits the manifest anew: the tags are these until its version changes.
        if set(manifest_table.tags_of(repository, digest)) != set(tags):
            return False
        if _delete_unreferenced(record, parsed, _Order(actor, spares_tagged=spares_tagged)):
            return True
    raise Unavailable(f"{repository}@{digest} is being changed by others")


def blob(repository: str, digest: str) -> None:
    """Take a blob out of a repository. Raises BlobUnknown, or Referenced while a manifest there names it."""
    for _ in retrying.attempts(retrying.MEDIUM):
        record, link = blob_table.read(repository, digest)
        if record is None or link is None or link.object_key != record.object_key:
            raise BlobUnknown(f"{repository} has no blob {digest}")
        version = blob_table.set_link_state(link, DELETING)
        if not version:
            continue
        if references.is_held(blob_table.edges_onto(digest, repository)):
            marked = blob_table.Link(repository, digest, link.object_key, DELETING, version)
            blob_table.set_link_state(marked, LIVE)
            raise Referenced(f"a manifest of {repository} names the blob {digest}: delete that first")
        blob_table.touch(digest)
        if blob_table.delete_link(link, version):
            blobs.forget(repository, digest)
            return
    raise Unavailable(f"the blob {digest} is being changed by others")


def _delete_tag(repository: str, name: str, actor: Actor, preconditions: Preconditions) -> None:
    for _ in retrying.attempts(retrying.MEDIUM):
        tag = manifest_table.read_tag(repository, name)
        if tag is None:
            raise ManifestUnknown(f"{repository} has no tag {name}")
        preconditions.require(tag.digest)
        _require_deletable(repository, [name])
        if removals.delete_tag(repository, tag, audited.tag_deleted(actor, repository, name)):
            return
    raise Unavailable(f"the tag {name} of {repository} is being moved by others")


def _delete_unreferenced(record: Record, parsed: Manifest, order: _Order) -> bool:
    """One try to delete a manifest that no index names. False when it changed meanwhile."""
    repository, digest = record.repository, record.digest
    version = manifest_table.set_state(record, DELETING)
    if not version:
        return False
    marked = Record(**{**vars(record), "state": DELETING, "version": version})
    try:
        going = attachments.all_of(repository, digest, order.subjects)
        attachments.require_unnamed(repository, digest, going, order.subjects)
        tags = manifest_table.tags_of(repository, digest)
        of_accessories = attachments.tags_of(repository, going)
        if order.spares_tagged:
            # Asked of each accessory once more before it goes itself: its delete fails if it is tagged after that.
            _require_no_tag_of_its_own(digest, [*of_accessories, *(tags if order.subjects else ())])
        _require_deletable(repository, [*tags, *of_accessories])
        if going:
            _delete_attached(repository, going, replace(order, subjects=order.subjects.union([digest], going)))
    except (Immutable, Referenced, Unavailable):
        manifest_table.set_state(marked, LIVE)
        raise
    for referrer in manifest_table.referrers_of(repository, digest):
        # Before their subject goes: a crash in between leaves a mark too many, which the collector lifts.
        manifest_table.mark_candidate(repository, referrer)
    event = audited.deleted(order.actor, repository, digest, tags[0] if tags else None)
    while len(tags) > _TAGS_PER_TRANSACTION:
        if not removals.delete_tags(repository, digest, tags[:_TAGS_PER_TRANSACTION]):
            return False
        tags = tags[_TAGS_PER_TRANSACTION:]
    if not removals.delete_manifest(marked, version, tags, parsed.subject, parsed.artifact_type, event):
        return False
    push.release(repository, digest, record.generation, parsed)
    if going or order.subjects:  # which may have been deleted before it
        artifacts.forget_signatures(repository, digest)
    return True


def _delete_attached(repository: str, going: Sequence[str], order: _Order) -> None:
    """Delete what is about a manifest, before it: when that breaks off, the next delete of it goes on.

    Of two of which one is an index that names the other, or what is about the other, the index has to be first.
    """
    waiting = going
    while waiting:
        refused: dict[str, Referenced] = {}
        for each in waiting:
            if time.monotonic() > order.deadline:
                raise Unavailable("there is more about this manifest than one request deletes: repeat it")
            try:
                _delete_manifest(repository, each, order)
            except ManifestUnknown:
                continue  # another was faster
            except Referenced as error:
                refused[each] = error
        if len(refused) == len(waiting):
            raise refused[waiting[0]]
        waiting = list(refused)


def _require_no_tag_of_its_own(digest: str, tags: Iterable[str]) -> None:
    """Raises Referenced when one of `tags` is more than the name of what its manifest is about."""
    tag = next((tag for tag in tags if not accessories.is_fallback_tag(tag)), None)
    if tag is not None:
        raise Referenced(f"the tag {tag} is of an accessory of {digest}: delete that first")


def _require_deletable(repository: str, tags: Iterable[str]) -> None:
    """Raises Immutable."""
    from chalicelib.projects import immutability  # noqa: PLC0415 -- a cold start that deletes nothing does without it

    immutability.require_deletable(repository, tags)
