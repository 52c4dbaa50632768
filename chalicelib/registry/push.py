"""Pushing a manifest: edges first, then a look at what they point at, then the commit (docs/gc.md)."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from chalicelib.auditing import artifacts as audited
from chalicelib.auditing.records import JOBS, Actor
from chalicelib.projects import rules, summaries
from chalicelib.projects.records import Project
from chalicelib.registry import accessories, blobs, digests, manifests
from chalicelib.registry.accessories import Accessory
from chalicelib.registry.errors import ManifestBlobUnknown, NameUnknown, RegistryError, Unavailable
from chalicelib.registry.manifests import Manifest
from chalicelib.registry.names import project_of
from chalicelib.settings import settings
from chalicelib.storage import blobs as blob_table
from chalicelib.storage import blobstore, reads, repositories
from chalicelib.storage import manifests as manifest_table
from chalicelib.storage import projects as project_table
from chalicelib.storage.blobs import DELETING, LIVE, Edge
from chalicelib.storage.conditions import fresh, now
from chalicelib.storage.manifests import Commit, Record, Tag

INLINE_LIMIT = 350 * 1024
"""Bytes of a manifest kept in its item; larger ones go to S3 (DynamoDB: 400 KB an item)."""

_ATTEMPTS = 12

_ATTRIBUTES = (
    *("object_key", "size", "state", "version", "candidate_since"),
    *("generation", "media_type", "created", "digest", "accessory_of", "accessory_kind"),
)
"""What a push looks at of blobs, links, manifests and the tag."""


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


def manifest(repository: str, reference: str, content: bytes, content_type: str, actor: Actor = JOBS) -> PushedManifest:
    """Store a manifest under a digest or a tag, for `actor`.

    Raises ManifestInvalid, DigestInvalid, TooLarge, ManifestBlobUnknown (with the digests that are missing),
    NameUnknown when the project is gone, Immutable when the tag must stay, Unavailable when others keep changing the
    same manifest.
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
    except RegistryError:
        # Only what is certain not to be committed is taken back: a store's own error may hide a commit that
        # went through, and then waits for the sweep of orphans.
        release(repository, digest, generation, parsed)
        raise
    if replaced is not None:
        _drop_generation(repository, digest, replaced.generation, parsed)
    return PushedManifest(digest, parsed.subject)


def release(repository: str, digest: str, generation: str, parsed: Manifest) -> None:
    """Note what a manifest named as candidates, then drop its edges: nothing else may refer to it.

    In this order: a crash in between leaves edges, which the sweep of orphans finds; the other way round it would
    leave blobs that nothing finds.
    """
    for name in parsed.references:
        blob_table.touch(name)
    for child in parsed.children:
        manifest_table.mark_candidate(repository, child)
    _drop_generation(repository, digest, generation, parsed)


def _commit_when_unchanged(
    repository: str, digest: str, tag: str | None, parsed: Manifest, generation: str, actor: Actor
) -> Record | None:
    """Read, require, commit; again when another wrote in between. Returns the record that was replaced."""
    deadline = time.monotonic() + settings().push_seconds / 2
    for attempt in range(_ATTEMPTS):
        project = _project(repository)
        view = _read(repository, digest, tag, parsed)
        try:
            _require(repository, parsed, view)
        except _ChangedMeanwhileError:
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
            public=project.public,
            event=audited.pushed(actor, repository, digest, tag),
        )
        if manifest_table.commit(change):
            return view.current
        if not view.repository_known:
            rules.forget(project.name)
            if not project_table.takes_repositories(project.name):
                raise NameUnknown(f"the project of {repository} is gone")
        time.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, 5)))  # noqa: S311 -- jitter, not a secret
    raise Unavailable(f"{repository}@{digest} is being changed by others")


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
    targets = [*parsed.references]
    targets += [blob_table.manifest_target(repository, child) for child in parsed.children]
    created = now()
    return [Edge(target, repository, digest, generation, created) for target in targets]


def _drop_generation(repository: str, digest: str, generation: str, parsed: Manifest) -> None:
    """Drop the edges of a generation that is not, or no longer, the manifest's, and its object if it had one."""
    blob_table.delete_edges(_edges(repository, digest, generation, parsed))
    if len(parsed.content) > INLINE_LIMIT:
        blobstore.delete(manifest_table.object_key(generation))


def _read(repository: str, digest: str, tag: str | None, parsed: Manifest) -> _View:
    blob_keys = {blob_table.blob_key(d): d for d in parsed.references}
    link_keys = {blob_table.link_key(repository, d): d for d in parsed.references}
    child_keys = {manifest_table.manifest_key(repository, d): d for d in parsed.children}
    current, catalog = manifest_table.manifest_key(repository, digest), repositories.catalog_key(repository)
    tag_key = manifest_table.tag_key(repository, tag) if tag else None
    wanted = [*blob_keys, *link_keys, *child_keys, current, catalog, *([tag_key] if tag_key else [])]
    found = reads.get_items(wanted, _ATTRIBUTES)
    return _View(
        blobs={d: blob_table.to_blob(found[key]) for key, d in blob_keys.items() if key in found},
        links={d: blob_table.to_link(found[key]) for key, d in link_keys.items() if key in found},
        children={d: manifest_table.to_record(found[key]) for key, d in child_keys.items() if key in found},
        current=manifest_table.to_record(found[current]) if current in found else None,
        tag=manifest_table.to_tag(found[tag_key]) if tag_key in found else None,
        repository_known=catalog in found,
    )


def _require(repository: str, parsed: Manifest, view: _View) -> None:
    """Make sure that all the manifest names is there and stays. Raises ManifestBlobUnknown or _ChangedMeanwhileError.

    What a collector or a delete has in hand is rescued: both look for edges, and ours are written.
    """
    missing = [digest for digest in parsed.blobs if not _served(digest, view)]
    if not settings().sparse_indexes:
        missing += [digest for digest in parsed.children if digest not in view.children]
    if missing:
        message = f"{repository} does not have what the manifest names"
        raise ManifestBlobUnknown(message, detail=[{"digest": digest} for digest in missing])
    for digest in parsed.references:
        if _served(digest, view):
            _hold_blob(digest, view)
    for child in view.children.values():
        if child.state == DELETING and not manifest_table.set_state(child, LIVE):
            raise _ChangedMeanwhileError


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
