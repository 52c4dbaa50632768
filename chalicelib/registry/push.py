"""Pushing a manifest: edges first, then a look at what they point at, then the commit (docs/gc.md)."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.auditing import artifacts as audited
from chalicelib.auditing import quotas as quota_events
from chalicelib.auditing.records import JOBS, Actor, Event
from chalicelib.projects import quotas, rules, summaries
from chalicelib.projects.records import UNLIMITED, Project
from chalicelib.registry import accessories, blobs, charges, digests, manifests, unreferenced
from chalicelib.registry.accessories import Accessory
from chalicelib.registry.errors import ManifestBlobUnknown, NameUnknown, QuotaExceeded, RegistryError, Unavailable
from chalicelib.registry.manifests import Manifest
from chalicelib.registry.names import project_of
from chalicelib.settings import settings
from chalicelib.storage import blobs as blob_table
from chalicelib.storage import blobstore, reads, repositories, usage
from chalicelib.storage import manifests as manifest_table
from chalicelib.storage import projects as project_table
from chalicelib.storage.blobs import DELETING, LIVE, Edge
from chalicelib.storage.conditions import fresh, now
from chalicelib.storage.manifests import Commit, Record, Tag
from chalicelib.storage.usage import Adjustment, Charge, Total

INLINE_LIMIT = 350 * 1024
"""Bytes of a manifest kept in its item; larger ones go to S3 (DynamoDB: 400 KB an item)."""

_ATTEMPTS = 12

_ATTRIBUTES = (
    *("object_key", "size", "state", "version", "candidate_since", "uploaded"),
    *("generation", "media_type", "created", "digest", "accessory_of", "accessory_kind"),
    *("project_id", "storage_limit", "freeing", "used", "room", "changes"),
)
"""What a push looks at of blobs, links, manifests, the tag, and its project with charges and totals."""


@dataclass(frozen=True)
class PushedManifest:
    digest: str
    subject: str | None


class _ChangedMeanwhileError(Exception):
    """What the push had read was written by another: read again."""


@dataclass(frozen=True)
class _View:
    """What a push reads, in one call, after its edges are written."""

    blobs: dict[str, blob_table.Blob]
    links: dict[str, blob_table.Link]
    children: dict[str, Record]
    current: Record | None
    tag: Tag | None
    repository_known: bool
    is_project_same: bool
    """Whether the project still has the number and the limit by which the push reads and counts."""
    charges: dict[str, Charge]
    totals: tuple[Total, ...]


def manifest(repository: str, reference: str, content: bytes, content_type: str, actor: Actor = JOBS) -> PushedManifest:
    """Store a manifest under a digest or a tag, for `actor`.

    In a proxy project what it names may be absent: it is fetched later, and charged for then. Its edges are there.

    Raises ManifestInvalid, DigestInvalid, TooLarge, ManifestBlobUnknown (with the digests that are missing),
    NameUnknown when the project is gone, Immutable when the tag must stay, QuotaExceeded when the project is full,
    Unavailable when others keep changing the same manifest.
    """
    parsed = manifests.parse(content, content_type)
    if digests.is_digest(reference):
        digests.verify(content, reference)
        digest, tag = reference, None
    else:
        digest, tag = digests.of(content), reference
    generation = fresh()
    if len(content) > INLINE_LIMIT:
        blobstore.put(manifest_table.object_key(generation), content)
    blob_table.write_edges(_edges(repository, digest, generation, parsed))
    try:
        replaced = _commit_when_unchanged(repository, digest, tag, parsed, generation, actor)
    except RegistryError as error:
        # Only what is certain not to be committed is taken back: a store's own error may hide a commit that
        # went through, and then waits for the sweep of orphans.
        release(repository, digest, generation, parsed)
        if isinstance(error, QuotaExceeded):
            quota_events.tell_exceeded(actor, repository, error.message, digest, tag)
        raise
    if replaced is not None:
        _drop_generation(repository, digest, replaced.generation, parsed)
    return PushedManifest(digest, parsed.subject)


def release(repository: str, digest: str, generation: str, parsed: Manifest) -> None:
    """Note what a manifest named as candidates, drop its edges, free its charges: nothing else may refer to it.

    In this order: a crash in between leaves edges, which the sweep of orphans finds; the other way round it would
    leave blobs that nothing finds. Charges that a crash leaves are found by the recount.
    """
    for name in parsed.references:
        blob_table.touch(name)
    for child in parsed.children:
        manifest_table.mark_candidate(repository, child)
    _drop_generation(repository, digest, generation, parsed)
    charges.free(repository, (digest, *parsed.references))


def _commit_when_unchanged(
    repository: str, digest: str, tag: str | None, parsed: Manifest, generation: str, actor: Actor
) -> Record | None:
    """Read, require, commit; again when another wrote in between. Returns the record that was replaced."""
    deadline = time.monotonic() + settings().push_seconds / 2
    refused: tuple[Total, ...] = ()
    for attempt in range(_ATTEMPTS):
        project = _project(repository)
        view = _read(project, repository, digest, tag, parsed)
        try:
            _require(project, repository, parsed, view)
            sizes, adjustments, uploaded = _charges(project, digest, parsed, view)
        except _ChangedMeanwhileError:
            continue
        except QuotaExceeded:
            if view.totals == refused:
                raise
            refused = view.totals  # a read of several items is no snapshot: what is refused was seen twice
            continue
        if view.tag is not None and view.tag.digest != digest:
            _require_movable(repository, view.tag.name)
        if time.monotonic() > deadline:
            break  # the edges may count as orphans soon: nothing may be committed that relies on them
        change = Commit(
            repository=repository,
            digest=digest,
            generation=generation,
            media_type=parsed.media_type,
            size=len(parsed.content),
            content=parsed.content if len(parsed.content) <= INLINE_LIMIT else None,
            subject=parsed.subject,
            artifact_type=parsed.artifact_type,
            descriptor=parsed.descriptor(digest),
            summary=summaries.of(parsed),
            accessory=_accessory(parsed, tag, view.current),
            replaces=view.current,
            tag=tag,
            tag_before=view.tag,
            repository_known=view.repository_known,
            project_id=project.project_id,
            charges=sizes,
            adjustments=adjustments,
            uploaded=uploaded,
            public=project.public,
            event=audited.pushed(actor, repository, digest, tag),
            warning=_warning(actor, project, repository, digest, tag, view, sizes),
        )
        if manifest_table.commit(change):
            return view.current
        if not view.repository_known:
            rules.forget(project.name)
            if not project_table.takes_repositories(project.name):
                raise NameUnknown(f"the project of {repository} is gone")
        time.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, 5)))  # noqa: S311 -- jitter, not a secret
    raise Unavailable(f"{repository}@{digest} is being changed by others")


def _warning(
    actor: Actor, project: Project, repository: str, digest: str, tag: str | None, view: _View, sizes: Mapping[str, int]
) -> Event | None:
    """What is told when a new artifact brings the project near its limit: it costs no call."""
    if view.current is not None:
        return None
    return quota_events.warning(actor, project, repository, digest, tag, view.totals, sum(sizes.values()))


def _project(repository: str) -> Project:
    project = rules.find(project_of(repository))
    if project is None:
        raise NameUnknown(f"the project of {repository} is gone")
    return project


def _accessory(parsed: Manifest, tag: str | None, before: Record | None) -> Accessory | None:
    """What the manifest is about: once said, by a tag of cosign's perhaps, that stays."""
    if before is not None and before.accessory is not None:
        return before.accessory
    return accessories.of(parsed, tag)


def _edges(repository: str, digest: str, generation: str, parsed: Manifest) -> list[Edge]:
    targets = [*parsed.references, charges.own_target(repository, digest)]
    targets += [blob_table.manifest_target(repository, child) for child in parsed.children]
    created = now()
    return [Edge(target, repository, digest, generation, created) for target in targets]


def _drop_generation(repository: str, digest: str, generation: str, parsed: Manifest) -> None:
    """Drop the edges of a generation that is not, or no longer, the manifest's, and its object if it had one."""
    blob_table.delete_edges(_edges(repository, digest, generation, parsed))
    if len(parsed.content) > INLINE_LIMIT:
        blobstore.delete(manifest_table.object_key(generation))


def _read(project: Project, repository: str, digest: str, tag: str | None, parsed: Manifest) -> _View:
    blob_keys = {blob_table.blob_key(d): d for d in parsed.references}
    link_keys = {blob_table.link_key(repository, d): d for d in parsed.references}
    child_keys = {manifest_table.manifest_key(repository, d): d for d in parsed.children}
    current, catalog = manifest_table.manifest_key(repository, digest), repositories.catalog_key(repository)
    tag_key = manifest_table.tag_key(repository, tag) if tag else None
    number, project_key = project.project_id, project_table.project_key(project.name)
    charge_keys = {usage.charge_key(number, d): d for d in (digest, *parsed.references)}
    total_keys = [] if project.storage_limit == UNLIMITED else usage.total_keys(number)
    wanted = [*blob_keys, *link_keys, *child_keys, current, catalog, *([tag_key] if tag_key else [])]
    found = reads.get_items([*wanted, project_key, *charge_keys, *total_keys], _ATTRIBUTES)
    return _View(
        blobs={d: blob_table.to_blob(found[key]) for key, d in blob_keys.items() if key in found},
        links={d: blob_table.to_link(found[key]) for key, d in link_keys.items() if key in found},
        children={d: manifest_table.to_record(found[key]) for key, d in child_keys.items() if key in found},
        current=manifest_table.to_record(found[current]) if current in found else None,
        tag=manifest_table.to_tag(found[tag_key]) if tag_key in found else None,
        repository_known=catalog in found,
        is_project_same=_is_same(project, found.get(project_key)),
        charges={d: usage.to_charge(found[key]) for key, d in charge_keys.items() if key in found},
        totals=usage.to_totals(number, found) if total_keys else (),
    )


def _is_same(project: Project, item: reads.Item | None) -> bool:
    """Whether what this process remembers of the project is what the table says."""
    known = (project.project_id, project.storage_limit)
    return item is not None and known == (item["project_id"], item.get("storage_limit", UNLIMITED))


def _require(project: Project, repository: str, parsed: Manifest, view: _View) -> None:
    """Make sure that all the manifest names is there and stays. Raises ManifestBlobUnknown or _ChangedMeanwhileError.

    What a collector or a delete has in hand is rescued: both look for edges, and ours are written.
    """
    missing = _missing(parsed, view)
    if missing and not project.is_proxy:
        message = f"{repository} does not have what the manifest names"
        raise ManifestBlobUnknown(message, detail=[{"digest": digest} for digest in missing])
    for digest in parsed.references:
        if _served(digest, view):
            _hold_blob(digest, view)
    for child in view.children.values():
        if child.state == DELETING and not manifest_table.set_state(child, LIVE):
            raise _ChangedMeanwhileError


def _missing(parsed: Manifest, view: _View) -> list[str]:
    missing = [digest for digest in parsed.blobs if not _served(digest, view)]
    if not settings().sparse_indexes:
        missing += [digest for digest in parsed.children if digest not in view.children]
    return missing


def _charges(
    project: Project, digest: str, parsed: Manifest, view: _View
) -> tuple[Mapping[str, int], tuple[Adjustment, ...], frozenset[str]]:
    """What the project is to be charged for with the commit, how its totals change, and what of it uploads brought.

    Raises QuotaExceeded, or _ChangedMeanwhileError. Whose charge is about to be freed is rescued, as blobs are.
    """
    if not view.is_project_same:
        rules.forget(project.name)
        raise _ChangedMeanwhileError
    sizes = {each: view.blobs[each].size for each in parsed.references if _served(each, view)}
    sizes[digest] = len(parsed.content)
    new = {each: size for each, size in sizes.items() if each not in view.charges}
    for charge in view.charges.values():
        if charge.freeing and not usage.keep(project.project_id, charge.digest):
            raise _ChangedMeanwhileError
    adjustments = quotas.plan(project.storage_limit, view.totals, sum(new.values()))
    uploaded = frozenset(each for each in new if each in view.links and view.links[each].uploaded)
    if len(new) <= charges.A_TRANSACTION:
        return new, unreferenced.taken_off(adjustments, new, uploaded), uploaded
    charges.make(project, new, uploaded)
    raise _ChangedMeanwhileError  # by this push itself, or by another: a look tells


def _require_movable(repository: str, tag: str) -> None:
    """Raises Immutable."""
    from chalicelib.projects import immutability  # noqa: PLC0415 -- most pushes move no tag: they do without it

    immutability.require_movable(repository, tag)


def _served(digest: str, view: _View) -> bool:
    blob, link = view.blobs.get(digest), view.links.get(digest)
    return blob is not None and link is not None and link.object_key == blob.object_key


def _hold_blob(digest: str, view: _View) -> None:
    blob, link = view.blobs[digest], view.links[digest]
    if not blobs.keep(blob):
        raise _ChangedMeanwhileError
    if link.state == DELETING and not blob_table.set_link_state(link, LIVE):
        raise _ChangedMeanwhileError
