"""Pushing a manifest: edges first, then a look at what they point at, then the commit (docs/gc.md)."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.auditing import artifacts as audited
from chalicelib.auditing import quotas as quota_events
from chalicelib.auditing.records import JOBS, Actor, Event
from chalicelib.projects import quotas, rules, summaries
from chalicelib.projects.records import Project
from chalicelib.registry import accessories, blobs, charges, digests, manifests, push_view, unreferenced
from chalicelib.registry.accessories import Accessory
from chalicelib.registry.errors import (
    ManifestBlobUnknown,
    ManifestInvalid,
    NameUnknown,
    QuotaExceeded,
    RegistryError,
    Unavailable,
    UriTooLong,
)
from chalicelib.registry.manifests import Manifest
from chalicelib.registry.names import project_of
from chalicelib.registry.preconditions import NONE, Preconditions
from chalicelib.registry.push_view import View, Wanted
from chalicelib.settings import settings
from chalicelib.storage import blobs as blob_table
from chalicelib.storage import blobstore, usage
from chalicelib.storage import manifests as manifest_table
from chalicelib.storage import projects as project_table
from chalicelib.storage.blobs import DELETING, LIVE, Edge
from chalicelib.storage.conditions import fresh, now
from chalicelib.storage.manifests import Commit, Record
from chalicelib.storage.usage import Adjustment, Total

INLINE_LIMIT = 350 * 1024
"""Bytes of a manifest kept in its item; larger ones go to S3 (DynamoDB: 400 KB an item)."""

TAG_LIMIT = 10
"""Tags that one push may put (distribution-spec: at least ten): all are in the transaction that commits it."""

_TAG_ITEMS = 7
"""Items of a transaction that a tag needs: two of its own, two of the manifest that it leaves, three of its event."""

_ATTEMPTS = 12
_WRITES_AT_ONCE = 8


@dataclass(frozen=True)
class PushedManifest:
    digest: str
    subject: str | None
    tags: Sequence[str] = ()
    """Those that now point at it."""


class _ChangedMeanwhileError(Exception):
    """What the push had read was written by another: read again."""


def manifest(
    repository: str,
    reference: str,
    content: bytes,
    content_type: str,
    actor: Actor = JOBS,
    *,
    digest: str = "",
    tags: Sequence[str] = (),
    preconditions: Preconditions = NONE,
) -> PushedManifest:
    """Store a manifest under a digest or a tag, for `actor`.

    `digest` says under which digest, if `reference` is a tag: the sha256 otherwise. `tags` are put as well, if it is a
    digest (distribution-spec, end-7b). In a proxy project what the manifest names may be absent: it is fetched later,
    and charged for then. Its edges are there.

    Raises ManifestInvalid, DigestInvalid, TooLarge, UriTooLong, ManifestBlobUnknown (with the digests that are
    missing), NameUnknown when the project is gone, Immutable when a tag must stay, PreconditionFailed, QuotaExceeded
    when the project is full, Unavailable when others keep changing the same manifest.
    """
    is_by_tag = not digests.is_digest(reference)
    names = [reference] if is_by_tag else list(dict.fromkeys(tags))
    if len(names) > TAG_LIMIT:
        raise UriTooLong(f"a push may name {TAG_LIMIT} tags")
    parsed = manifests.parse(content, content_type)
    for named in (digest, *(() if is_by_tag else (reference,))):
        if named:
            digests.verify(content, named)
    digest = reference if not is_by_tag else digest or digests.of(content)
    _put(Wanted(repository, digest, names, parsed, preconditions, is_by_tag), actor)
    return PushedManifest(digest, parsed.subject, names)


def _put(wanted: Wanted, actor: Actor) -> None:
    repository, digest, parsed, generation = wanted.repository, wanted.digest, wanted.parsed, fresh()
    if len(parsed.content) > INLINE_LIMIT:
        blobstore.put(manifest_table.object_key(generation), parsed.content)
    blob_table.write_edges(_edges(repository, digest, generation, parsed))
    try:
        replaced = _commit_when_unchanged(wanted, generation, actor)
    except RegistryError as error:
        # Only what is certain not to be committed is taken back: a store's own error may hide a commit that
        # went through, and then waits for the sweep of orphans.
        release(repository, digest, generation, parsed)
        if isinstance(error, QuotaExceeded):
            quota_events.tell_exceeded(actor, repository, error.message, digest, wanted.tag)
        raise
    if replaced is not None:
        _drop_generation(repository, digest, replaced.generation, parsed)


def release(repository: str, digest: str, generation: str, parsed: Manifest) -> None:
    """Note what a manifest named as candidates, drop its edges, free its charges: nothing else may refer to it.

    In this order: a crash in between leaves edges, which the sweep of orphans finds; the other way round it would
    leave blobs that nothing finds. Charges that a crash leaves are found by the recount.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 -- most pushes release nothing

    # Only what is there is written to: what comes later is born a candidate, or has a tag, which leaves one behind.
    there = blob_table.read_records(parsed.references)
    children = manifest_table.read_records(repository, parsed.children)
    with ThreadPoolExecutor(_WRITES_AT_ONCE) as pool:
        list(pool.map(blob_table.touch, there))
        list(pool.map(lambda child: manifest_table.mark_candidate(repository, child), children))
    _drop_generation(repository, digest, generation, parsed)
    charges.free(repository, (digest, *parsed.blobs, *parsed.optional_blobs, *there))


def _commit_when_unchanged(wanted: Wanted, generation: str, actor: Actor) -> Record | None:
    """Read, require, commit; again when another wrote in between. Returns the record that was replaced."""
    repository, digest, parsed = wanted.repository, wanted.digest, wanted.parsed
    deadline = time.monotonic() + settings().push_seconds / 2
    refused: tuple[Total, ...] = ()
    first = wanted.preconditions.project_id
    for attempt in range(_ATTEMPTS):
        project = _project(repository)
        first = first or project.project_id
        if project.project_id != first:
            raise NameUnknown(f"the project of {repository} is gone")  # who may push to that may not to this
        view = push_view.read(project, wanted)
        try:
            _require_expected(wanted, view)
            _require(project, repository, parsed, view)
            new = _charges(project, wanted, view)
        except _ChangedMeanwhileError:
            continue
        except QuotaExceeded:
            if view.totals == refused:
                raise
            refused = view.totals  # a read of several items is no snapshot: what is refused was seen twice
            continue
        _require_movable(wanted, view)
        if time.monotonic() > deadline:
            break  # the edges may count as orphans soon: nothing may be committed that relies on them
        if manifest_table.commit(_change(wanted, generation, project, view, new, actor)):
            return view.current
        if not view.repository_known:
            rules.forget(project.name)
            if not project_table.takes_repositories(project.name):
                raise NameUnknown(f"the project of {repository} is gone")
        time.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, 5)))  # noqa: S311 -- jitter, not a secret
    raise Unavailable(f"{repository}@{digest} is being changed by others")


@dataclass(frozen=True)
class _NewCharges:
    """What a commit charges the project for: sizes by digest, and which of them uploads brought."""

    sizes: Mapping[str, int]
    adjustments: Sequence[Adjustment]
    uploaded: Collection[str]


def _change(
    wanted: Wanted,
    generation: str,
    project: Project,
    view: View,
    new: _NewCharges,
    actor: Actor,
) -> Commit:
    repository, digest, parsed = wanted.repository, wanted.digest, wanted.parsed
    return Commit(
        repository=repository,
        digest=digest,
        generation=generation,
        media_type=parsed.media_type,
        size=len(parsed.content),
        content=parsed.content if len(parsed.content) <= INLINE_LIMIT else None,
        subject=parsed.subject,
        artifact_type=parsed.artifact_type,
        descriptor=parsed.descriptor(digest),
        summary=summaries.of(parsed, view.blobs_alone(parsed)),
        accessory=_accessory(wanted, view.current),
        replaces=view.current,
        tags=wanted.tags,
        tags_before=view.tags,
        repository_known=view.repository_known,
        project_id=project.project_id,
        charges=new.sizes,
        adjustments=new.adjustments,
        uploaded=new.uploaded,
        public=project.public,
        events=[audited.pushed(actor, repository, digest, tag) for tag in wanted.names],
        warning=_warning(actor, project, wanted, view, new.sizes),
    )


def _require_expected(wanted: Wanted, view: View) -> None:
    """Raise PreconditionFailed, or ManifestInvalid for bytes that have another media type in the repository.

    The commit holds only while what was seen here stands, so that of two pushes which both want the same one fails.
    """
    current = view.current
    if wanted.is_by_tag:
        tag = view.tags.get(wanted.tags[0])
        wanted.preconditions.require(tag.digest if tag else None)
    else:
        wanted.preconditions.require(current.digest if current else None)
    if current is not None and current.media_type.lower() != wanted.parsed.media_type.lower():
        # Who pulls the digest is told one type: another would have it read these bytes in another way.
        raise ManifestInvalid(f"{wanted.digest} is of the type {current.media_type} in {wanted.repository}")


def _warning(actor: Actor, project: Project, wanted: Wanted, view: View, sizes: Mapping[str, int]) -> Event | None:
    """What is told when a new artifact brings the project near its limit: it costs no call."""
    if view.current is not None:
        return None
    added = sum(sizes.values())
    return quota_events.warning(actor, project, wanted.repository, wanted.digest, wanted.tag, view.totals, added)


def _project(repository: str) -> Project:
    project = rules.find(project_of(repository))
    if project is None:
        raise NameUnknown(f"the project of {repository} is gone")
    return project


def _accessory(wanted: Wanted, before: Record | None) -> Accessory | None:
    """What the manifest is about: once said, by a tag of cosign's perhaps, that stays."""
    if before is not None and before.accessory is not None:
        return before.accessory
    found = (accessories.of(wanted.parsed, tag) for tag in wanted.names)
    return next((accessory for accessory in found if accessory is not None), None)


def _edges(repository: str, digest: str, generation: str, parsed: Manifest) -> list[Edge]:
    """Those of a commit. What an index names has two: it is a manifest or a blob, now or later, and is held as both."""
    targets = [*parsed.references, charges.own_target(repository, digest)]
    targets += [blob_table.manifest_target(repository, child) for child in parsed.children]
    created = now()
    return [Edge(target, repository, digest, generation, created) for target in targets]


def _drop_generation(repository: str, digest: str, generation: str, parsed: Manifest) -> None:
    """Drop the edges of a generation that is not, or no longer, the manifest's, and its object if it had one."""
    blob_table.delete_edges(_edges(repository, digest, generation, parsed))
    if len(parsed.content) > INLINE_LIMIT:
        blobstore.delete(manifest_table.object_key(generation))


def _require(project: Project, repository: str, parsed: Manifest, view: View) -> None:
    """Make sure that all the manifest names is there and stays. Raises ManifestBlobUnknown or _ChangedMeanwhileError.

    What a collector or a delete has in hand is rescued: both look for edges, and ours are written.
    """
    missing = _missing(parsed, view)
    if missing and not project.is_proxy:
        message = f"{repository} does not have what the manifest names"
        raise ManifestBlobUnknown(message, detail=[{"digest": digest} for digest in missing])
    for digest in parsed.references:
        if view.serves(digest):
            _hold_blob(digest, view)
    for child in view.children.values():
        if child.state == DELETING and not manifest_table.set_state(child, LIVE):
            raise _ChangedMeanwhileError


def _missing(parsed: Manifest, view: View) -> list[str]:
    missing = [digest for digest in parsed.blobs if not view.serves(digest)]
    if not settings().sparse_indexes:
        missing += [each for each in parsed.children if not view.has(each)]
    return missing


def _charges(project: Project, wanted: Wanted, view: View) -> _NewCharges:
    """What the project is to be charged for with the commit, and how its totals change.

    Raises QuotaExceeded, or _ChangedMeanwhileError. Whose charge is about to be freed is rescued, as blobs are.
    """
    if not view.is_project_same:
        rules.forget(project.name)
        raise _ChangedMeanwhileError
    sizes = {each: view.blobs[each].size for each in wanted.parsed.references if view.serves(each)}
    sizes[wanted.digest] = len(wanted.parsed.content)
    new = {each: size for each, size in sizes.items() if each not in view.charges}
    for charge in view.charges.values():
        if charge.freeing and not usage.keep(project.project_id, charge.digest):
            raise _ChangedMeanwhileError
    adjustments = quotas.plan(project.storage_limit, view.totals, sum(new.values()))
    uploaded = frozenset(each for each in new if each in view.links and view.links[each].uploaded)
    if len(new) <= max(0, charges.A_TRANSACTION - _TAG_ITEMS * (len(wanted.tags) - 1)):
        return _NewCharges(new, unreferenced.taken_off(adjustments, new, uploaded), uploaded)
    charges.make(project, new, uploaded)
    raise _ChangedMeanwhileError  # by this push itself, or by another: a look tells


def _require_movable(wanted: Wanted, view: View) -> None:
    """Raises Immutable."""
    moved = [tag.name for tag in view.tags.values() if tag.digest != wanted.digest]
    if not moved:
        return
    from chalicelib.projects import immutability  # noqa: PLC0415 -- most pushes move no tag: they do without it

    for tag in moved:
        immutability.require_movable(wanted.repository, tag)


def _hold_blob(digest: str, view: View) -> None:
    blob, link = view.blobs[digest], view.links[digest]
    if not blobs.keep(blob):
        raise _ChangedMeanwhileError
    if link.state == DELETING and not blob_table.set_link_state(link, LIVE):
        raise _ChangedMeanwhileError
