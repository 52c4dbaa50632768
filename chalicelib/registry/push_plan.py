"""What a push does with what it has read: refuse it, or rescue these, charge for those and commit.

`decide` reads and writes nothing: push.py does, before it and after. Sources of the rules: docs/gc.md, and
distribution-spec, "Pushing Manifests".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chalicelib.events.records import Actor, Event
from chalicelib.oci import accessories, summaries
from chalicelib.oci.accessories import Accessory
from chalicelib.oci.errors import ManifestBlobUnknown, ManifestInvalid
from chalicelib.oci.manifests import Manifest
from chalicelib.projects import quota_events, quotas
from chalicelib.projects.records import Project
from chalicelib.projects.store.usage import Adjustment
from chalicelib.registry import blobs, charges, unreferenced
from chalicelib.registry import events as audited
from chalicelib.registry.push_view import View, Wanted
from chalicelib.registry.store.blobs import DELETING, Blob, Link
from chalicelib.registry.store.manifests import Commit, Record
from chalicelib.settings import settings

INLINE_LIMIT = 350 * 1024
"""Bytes of a manifest kept in its item; larger ones go to S3 (DynamoDB: 400 KB an item)."""

_TAG_ITEMS = 7
"""Items of a transaction that a tag needs: two of its own, two of the manifest that it leaves, three of its event."""


@dataclass(frozen=True)
class Plan:
    """What is to be written for a push that is not refused: first the rescues, then the commit."""

    blobs: Sequence[Blob]
    """Those that the collector has condemned, or may soon."""
    links: Sequence[Link]
    """Those that a delete has marked; so are the next two."""
    children: Sequence[Record]
    freeing: Sequence[str]
    """Digests of the charges that are about to be freed."""
    moved: Sequence[str]
    """The tags that leave another manifest."""
    charges: Mapping[str, int]
    """What the project is charged for anew: sizes in bytes by digest."""
    adjustments: Sequence[Adjustment]
    """How its totals change with that."""
    uploaded: frozenset[str]
    """Which of `charges` uploads brought."""
    is_charged_with_commit: bool
    """False when these are too many for a transaction: they are charged ahead of it, and all is read again."""


def decide(project: Project, wanted: Wanted, view: View) -> Plan:
    """What a push is to write, by what was read after its edges were written.

    Raises PreconditionFailed, ManifestInvalid, ManifestBlobUnknown with the digests that are missing, or QuotaExceeded.
    """
    _require_expected(wanted, view)
    parsed = wanted.parsed
    missing = _missing(parsed, view)
    if missing and not project.is_proxy:
        message = f"{wanted.repository} does not have what the manifest names"
        raise ManifestBlobUnknown(message, detail=[{"digest": digest} for digest in missing])
    served = [digest for digest in parsed.references if view.serves(digest)]
    sizes = {digest: view.blobs[digest].size for digest in served} | {wanted.digest: len(parsed.content)}
    new = {digest: size for digest, size in sizes.items() if digest not in view.charges}
    adjustments = quotas.plan(project.storage_limit, view.totals, sum(new.values()))
    uploaded = frozenset(each for each in new if each in view.links and view.links[each].uploaded)
    return Plan(
        blobs=[view.blobs[digest] for digest in served if blobs.is_at_risk(view.blobs[digest], view.time)],
        links=[view.links[digest] for digest in served if view.links[digest].state == DELETING],
        children=[child for child in view.children.values() if child.state == DELETING],
        freeing=[charge.digest for charge in view.charges.values() if charge.freeing],
        moved=[tag.name for tag in view.tags.values() if tag.digest != wanted.digest],
        charges=new,
        adjustments=unreferenced.taken_off(adjustments, new, uploaded),
        uploaded=uploaded,
        is_charged_with_commit=len(new) <= max(0, charges.MAX_PER_TRANSACTION - _TAG_ITEMS * (len(wanted.tags) - 1)),
    )


def commit(wanted: Wanted, generation: str, project: Project, view: View, plan: Plan, actor: Actor) -> Commit:
    """The transaction's content, which holds only while what was read stands."""
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
        charges=plan.charges,
        adjustments=plan.adjustments,
        uploaded=plan.uploaded,
        public=project.public,
        events=[audited.pushed(actor, repository, digest, tag) for tag in wanted.names],
        warning=_warning(actor, project, wanted, view, plan.charges),
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
        # A client that pulls the digest gets one type: by another it would read these bytes in another way.
        raise ManifestInvalid(f"{wanted.digest} is of the type {current.media_type} in {wanted.repository}")


def _missing(parsed: Manifest, view: View) -> list[str]:
    missing = [digest for digest in parsed.blobs if not view.serves(digest)]
    if not settings().sparse_indexes:
        missing += [each for each in parsed.children if not view.has(each)]
    return missing


def _warning(actor: Actor, project: Project, wanted: Wanted, view: View, sizes: Mapping[str, int]) -> Event | None:
    """What is told when a new artifact brings the project near its limit: it costs no call."""
    if view.current is not None:
        return None
    added = sum(sizes.values())
    return quota_events.warning(actor, project, wanted.repository, wanted.digest, wanted.tag, view.totals, added)


def _accessory(wanted: Wanted, before: Record | None) -> Accessory | None:
    """What the manifest is about: once said, by a tag of cosign's perhaps, that stays."""
    if before is not None and before.accessory is not None:
        return before.accessory
    found = (accessories.of(wanted.parsed, tag) for tag in wanted.names)
    return next((accessory for accessory in found if accessory is not None), None)
