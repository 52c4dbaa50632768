"""Pushing a manifest: edges first, then a look at what they point at, then the commit (docs/gc.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib import retrying
from chalicelib.events.records import JOBS, Actor
from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import NameUnknown, QuotaExceeded, RegistryError, Unavailable, UriTooLong
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import project_of
from chalicelib.projects import quota_events, rules
from chalicelib.projects.records import Project
from chalicelib.projects.store import projects as project_table
from chalicelib.projects.store import usage
from chalicelib.projects.store.usage import Total
from chalicelib.registry import charges, push_plan, push_view
from chalicelib.registry.preconditions import NONE, Preconditions
from chalicelib.registry.push_plan import Plan
from chalicelib.registry.push_view import View, Wanted
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store.blobs import LIVE, Edge
from chalicelib.registry.store.manifests import Record
from chalicelib.settings import settings
from chalicelib.storage import blobstore
from chalicelib.storage.conditions import new_id, now

TAG_LIMIT = 10
"""Tags that one push may put (distribution-spec: at least ten): all are in the transaction that commits it."""

_WRITES_AT_ONCE = 8


@dataclass(frozen=True)
class PushedManifest:
    digest: str
    subject: str | None
    tags: Sequence[str] = ()
    """Those that now point at it."""


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
    repository, digest, parsed, generation = wanted.repository, wanted.digest, wanted.parsed, new_id()
    if len(parsed.content) > push_plan.INLINE_LIMIT:
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
    """Read, decide, write; again when another wrote in between. Returns the record that was replaced.

    The edges are written before this. So what is decided by one read holds when it is written: whoever takes anything
    away that the manifest names marks it first and looks for edges then; a mark that was read is taken back by
    `_rescue`, one that comes later finds the edges (docs/gc.md).
    """
    deadline = time.monotonic() + settings().push_seconds / 2
    refused: tuple[Total, ...] = ()
    number = wanted.preconditions.project_id
    for _ in retrying.attempts(retrying.HIGH):
        project = _project(wanted, number)
        number = project.project_id
        view = push_view.read(project, wanted)
        if not view.is_project_same:
            rules.forget(project.name)
            continue
        try:
            plan = push_plan.decide(project, wanted, view)
        except QuotaExceeded:
            if view.totals == refused:
                raise
            refused = view.totals  # a read of several items is no snapshot: what is refused was seen twice
            continue
        _require_movable(wanted, plan)
        if _rescue(project, plan) and _is_charged(project, plan):
            if time.monotonic() > deadline:
                break  # the edges may count as orphans soon: nothing may be committed that relies on them
            if manifest_table.commit(push_plan.commit(wanted, generation, project, view, plan, actor)):
                return view.current
            _require_project(wanted, project, view)
    raise Unavailable(f"{wanted.repository}@{wanted.digest} is being changed by others")


def _rescue(project: Project, plan: Plan) -> bool:
    """Take back what a collector or a delete has in hand. False when one of them was faster: then it is read again."""
    return (
        all(blob_table.touch(blob.digest, blob.object_key) for blob in plan.blobs)
        and all(blob_table.set_link_state(link, LIVE) for link in plan.links)
        and all(manifest_table.set_state(child, LIVE) for child in plan.children)
        and all(usage.keep(project.project_id, digest) for digest in plan.freeing)
    )


def _require_movable(wanted: Wanted, plan: Plan) -> None:
    """Raises Immutable."""
    if not plan.moved:
        return
    from chalicelib.projects import immutability  # noqa: PLC0415 -- most pushes move no tag: they do without it

    for tag in plan.moved:
        immutability.require_movable(wanted.repository, tag)


def _is_charged(project: Project, plan: Plan) -> bool:
    """Whether the commit charges the project with all that is new. If that is too much it is charged now, and read."""
    if not plan.is_charged_with_commit:
        charges.make(project, plan.charges, plan.uploaded)
    return plan.is_charged_with_commit


def _project(wanted: Wanted, number: int) -> Project:
    """The project, which has this number unless it is 0: whoever may push to one of the name may not to another."""
    project = rules.find(project_of(wanted.repository))
    if project is None or number not in (0, project.project_id):
        raise NameUnknown(f"the project of {wanted.repository} is gone")
    return project


def _require_project(wanted: Wanted, project: Project, view: View) -> None:
    """After a commit of a repository's first manifest that failed: raises NameUnknown if that was for its project."""
    if not view.repository_known:
        rules.forget(project.name)
        if not project_table.takes_repositories(project.name):
            raise NameUnknown(f"the project of {wanted.repository} is gone")


def _edges(repository: str, digest: str, generation: str, parsed: Manifest) -> list[Edge]:
    """Those of a commit. What an index names has two: it is a manifest or a blob, now or later, and is held as both."""
    targets = [*parsed.references, charges.charge_edge_key(repository, digest)]
    targets += [blob_table.manifest_target(repository, child) for child in parsed.children]
    created = now()
    return [Edge(target, repository, digest, generation, created) for target in targets]


def _drop_generation(repository: str, digest: str, generation: str, parsed: Manifest) -> None:
    """Drop the edges of a generation that is not, or no longer, the manifest's, and its object if it had one."""
    blob_table.delete_edges(_edges(repository, digest, generation, parsed))
    if len(parsed.content) > push_plan.INLINE_LIMIT:
        blobstore.delete(manifest_table.object_key(generation))
