"""The calls that processes make on the tables and the bucket.

A conditional write "if nobody wrote since I read" is modelled without numbers: an item keeps the processes whose last
read of it still holds (`watchers`); any write empties that set, and the write succeeds only for a process in it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any

from .processes import Call
from .world import BLOB, NOBODY, SUBJECTS, TARGETS, Blob, Edge, Link, Manifest, World

Moves = list[tuple[Hashable, World]]


def operation(apply: Callable[..., Moves]) -> Callable[..., Call]:
    """Makes of `apply(world, caller, *arguments)` a function `(*arguments) -> Call` for processes to yield."""

    @wraps(apply)
    def call(*arguments: Hashable) -> Call:
        return Call(apply, arguments)

    return call


def lost_answer(call: Call) -> Call:
    """The conditional write, or: it took effect, its answer was lost, and the SDK's retry finds its condition false."""
    return Call(or_answer_lost, tuple(call))


def or_answer_lost(world: World, caller: str, apply: Callable[..., Moves], arguments: tuple[Hashable, ...]) -> Moves:
    moves = apply(world, caller, *arguments)
    return [*moves, *((False, after.forget(caller)) for done, after in moves if done is True)]


# --- objects


@operation
def put_object(world: World, caller: str, key: str) -> Moves:
    return [(None, world._replace(objects=world.objects | {(key, 0)}))]


@operation
def delete_object(world: World, caller: str, key: str) -> Moves:
    return [(None, world._replace(objects=frozenset(o for o in world.objects if o[0] != key)))]


@operation
def fetch_object(world: World, caller: str, key: str) -> Moves:
    return [(any(at == key for at, _ in world.objects), world)]


@operation
def stray_object(world: World, caller: str) -> Moves:
    """An object older than the window whose key no record has. Waits for one."""
    used = world.blob and world.blob.key
    return [(key, world) for key, age in world.objects if age >= world.clock.window and key != used]


# --- the blob's record


@operation
def create_blob(world: World, caller: str, key: str, candidate: bool) -> Moves:
    if world.blob is not None:
        return [(False, world)]
    return [(True, world._replace(blob=Blob(key, age=0 if candidate else None)))]


@operation
def read_blob(world: World, caller: str, watch: bool = False) -> Moves:
    """(key, "live" | "candidate" | "condemned") or None; a candidate that does not wait long yet counts as live."""
    blob = world.blob
    if blob is None:
        return [(None, world)]
    after = world._replace(blob=blob._replace(watchers=blob.watchers | {caller})) if watch else world
    waits = blob.condemned or (blob.age is not None and blob.age >= world.clock.renew)
    return [((blob.key, blob.state if waits else "live"), after)]


@operation
def touch_blob(world: World, caller: str, key: str | None, exclusive: bool = False) -> Moves:
    """SET state = live, candidate_since = now ADD version 1, if the record is there, of that incarnation (None: of
    any). `exclusive`: only if nobody wrote it since the caller read it."""
    blob = world.blob
    if blob is None or key not in (None, blob.key) or (exclusive and caller not in blob.watchers):
        return [(False, world)]
    return [(True, world._replace(blob=Blob(blob.key, age=0)))]


@operation
def due_blob(world: World, caller: str) -> Moves:
    """(key, whether condemned) of a candidate older than the window or condemned longer than the grace. Waits."""
    blob = world.blob
    clock = world.clock
    if blob is None or blob.age is None or blob.age < (clock.grace if blob.condemned else clock.window):
        return []
    watched = blob._replace(watchers=blob.watchers | {caller})
    return [((blob.key, blob.condemned), world._replace(blob=watched))]


def _collectors(write: Callable[[World, Blob], World]) -> Callable[..., Call]:
    """A collector's write: if the record is at the version that was read (or, the rule off, in the same state)."""

    def apply(world: World, caller: str, condemned: bool, versions: bool) -> Moves:
        blob = world.blob
        current = blob is not None and (caller in blob.watchers if versions else blob.condemned == condemned)
        return [(True, write(world, blob))] if blob is not None and current else [(False, world)]

    apply.__name__ = write.__name__
    return operation(apply)


@_collectors
def condemn_blob(world: World, blob: Blob) -> World:
    return world._replace(blob=Blob(blob.key, condemned=True, age=0))


@_collectors
def clear_blob(world: World, blob: Blob) -> World:
    return world._replace(blob=Blob(blob.key))


@_collectors
def delete_blob(world: World, blob: Blob) -> World:
    link = world.link("app")
    named = any(BLOB in TARGETS[digest] for digest, _ in world.manifests)
    return world._replace(blob=None, lost=world.lost or (named and link is not None and link.key == blob.key))


# --- edges


@operation
def write_edges(world: World, caller: str, digest: str, generation: str, both: bool) -> Moves:
    """An edge onto what the manifest names: onto the blob and onto the manifest, where it may be either."""
    edges = {Edge(target, digest, generation, 0) for target in TARGETS[digest][0 if both else -1 :]}
    kept = frozenset(e for e in world.edges if (e.manifest, e.generation) != (digest, generation))
    return [(None, world._replace(edges=kept | edges))]


@operation
def delete_edges(world: World, caller: str, digest: str, generation: str) -> Moves:
    kept = frozenset(e for e in world.edges if (e.manifest, e.generation) != (digest, generation))
    return [(None, world._replace(edges=kept))]


@operation
def look(world: World, caller: str, target: str, consistent: bool) -> Moves:
    """The edges onto the target as (manifest, generation, whether young); a stale read may know of none."""
    found = frozenset((e.manifest, e.generation, e.age < world.clock.window) for e in world.edges if e.target == target)
    return [(found, world)] if consistent else [(frozenset(), world), (found, world)]


@operation
def orphan_edge(world: World, caller: str) -> Moves:
    """(manifest, generation) of an edge older than the window whose generation is not its manifest's. Waits."""
    current = {(digest, manifest.generation) for digest, manifest in world.manifests}
    orphans = (
        e for e in sorted(world.edges) if e.age >= world.clock.window and (e.manifest, e.generation) not in current
    )
    return [((e.manifest, e.generation), world) for e in orphans]


# --- links


@operation
def read_link(world: World, caller: str, repository: str) -> Moves:
    """(key, whether deleting) or None."""
    link = world.link(repository)
    return [(link and (link.key, link.deleting), world)]


@operation
def watch_link(world: World, caller: str, repository: str) -> Moves:
    """The key of a link, or None; whoever watches it learns whether it was written since. Waits for one."""
    link = world.link(repository)
    if link is None:
        return []
    return [(link.key, world.with_link(repository, link._replace(watchers=link.watchers | {caller})))]


@operation
def put_link(world: World, caller: str, repository: str, key: str) -> Moves:
    return [(None, world.with_link(repository, Link(key)))]


@operation
def rescue_link(world: World, caller: str, repository: str, key: str) -> Moves:
    link = world.link(repository)
    if link is None or link.key != key:
        return [(False, world)]
    return [(True, world.with_link(repository, Link(key)))]


@operation
def mark_link(world: World, caller: str, repository: str) -> Moves:
    """Marks it `deleting` on behalf of the caller, whoever else did."""
    link = world.link(repository)
    if link is None:
        return [(False, world)]
    return [(True, world.with_link(repository, Link(link.key, deleting=True, watchers=frozenset({caller}))))]


@operation
def unmark_link(world: World, caller: str, repository: str) -> Moves:
    link = world.link(repository)
    if link is None or caller not in link.watchers:
        return [(False, world)]
    return [(True, world.with_link(repository, Link(link.key)))]


@operation
def delete_link(world: World, caller: str, repository: str, mark: str) -> Moves:
    """If the link bears the mark, see `_bears`."""
    link = world.link(repository)
    if link is None or not _bears(link, caller, mark):
        return [(False, world)]
    return [(True, world.with_link(repository, None))]


@operation
def delete_links(world: World, caller: str, key: str, incarnations: bool) -> Moves:
    """The links of a collected incarnation, or, the rule off, of the digest."""
    return [(None, world._replace(links=tuple(at for at in world.links if incarnations and at[1].key != key)))]


def _bears(item: Link | Manifest, caller: str, mark: str) -> bool:
    """Whether it is marked by the caller ("own"), by anybody ("any"), or need not be ("none": the rule is off)."""
    return {"own": caller in item.watchers, "any": item.deleting, "none": True}[mark]


# --- manifests and tags


@operation
def read_manifest(world: World, caller: str, digest: str) -> Moves:
    """(generation, whether deleting) or None."""
    manifest = world.manifest(digest)
    return [(manifest and (manifest.generation, manifest.deleting), world)]


@operation
def read_generations(world: World, caller: str) -> Moves:
    """The (manifest, generation) of every manifest."""
    return [(frozenset((digest, manifest.generation) for digest, manifest in world.manifests), world)]


@operation
def commit(world: World, caller: str, digest: str, generation: str, replaced: Any, tag: str | None) -> Moves:
    """Puts the manifest and its tag, if the manifest's generation is `replaced` (None: not there; ANY: whatever)."""
    manifest = world.manifest(digest)
    if replaced not in (ANY, manifest and manifest.generation):
        return [(False, world)]
    untagged = world.clock.untagged and tag is None and (manifest is None or manifest.age is not None)
    after = world.with_manifest(digest, Manifest(generation, age=0 if untagged else None))
    left = dict(world.tags).get(tag) if tag else None
    if left not in (None, digest):
        after = _marked(after, left)
    return [(True, after.with_tag(tag, digest) if tag else after)]


def _marked(world: World, digest: Any) -> World:
    """A manifest that may be garbage gets a candidate mark; as in the table, that is no new version."""
    manifest = world.manifest(digest)
    if manifest is None or not world.clock.untagged:
        return world
    return world.with_manifest(digest, manifest._replace(age=0, mark_watchers=NOBODY))


@operation
def mark_candidate(world: World, caller: str, digest: str) -> Moves:
    return [(None, _marked(world, digest))]


@operation
def mark_referrers(world: World, caller: str, subject: str) -> Moves:
    for digest, of in SUBJECTS.items():
        if of == subject:
            world = _marked(world, digest)
    return [(None, world)]


@operation
def delete_tag(world: World, caller: str, tag: str) -> Moves:
    """In one transaction: the tag goes, its manifest is marked."""
    digest = dict(world.tags).get(tag)
    if digest is None:
        return [(False, world)]
    return [(True, _marked(world.with_tag(tag, None), digest))]


@operation
def due_manifest(world: World, caller: str) -> Moves:
    """(digest, generation) of a manifest that was marked before the window; watches it. Waits."""
    return [
        (
            (digest, manifest.generation),
            world.with_manifest(
                digest,
                manifest._replace(
                    watchers=manifest.watchers | {caller}, mark_watchers=manifest.mark_watchers | {caller}
                ),
            ),
        )
        for digest, manifest in world.manifests
        if manifest.age is not None and manifest.age >= world.clock.window
    ]


@operation
def clear_manifest(world: World, caller: str, digest: str, timed: bool) -> Moves:
    """Lifts the mark, if the manifest was not written since it was read, and, `timed`, not marked again."""
    manifest = world.manifest(digest)
    if manifest is None or caller not in manifest.watchers or manifest.age is None:
        return [(False, world)]
    if timed and caller not in manifest.mark_watchers:
        return [(False, world)]
    return [(True, world.with_manifest(digest, manifest._replace(age=None, mark_watchers=NOBODY)))]


ANY = "any"


@operation
def put_tag(world: World, caller: str, tag: str, digest: str) -> Moves:
    return [(None, world.with_tag(tag, digest))]


@operation
def rescue_manifest(world: World, caller: str, digest: str) -> Moves:
    manifest = world.manifest(digest)
    if manifest is None:
        return [(False, world)]
    return [(True, world.with_manifest(digest, manifest._replace(deleting=False, watchers=NOBODY)))]


@operation
def mark_manifest(world: World, caller: str, digest: str, generation: str) -> Moves:
    """Marks it `deleting` on behalf of the caller, whoever else did, if it is of that generation."""
    manifest = world.manifest(digest)
    if manifest is None or manifest.generation != generation:
        return [(False, world)]
    marked = manifest._replace(deleting=True, watchers=frozenset({caller}))
    return [(True, world.with_manifest(digest, marked))]


@operation
def unmark_manifest(world: World, caller: str, digest: str) -> Moves:
    manifest = world.manifest(digest)
    if manifest is None or caller not in manifest.watchers:
        return [(False, world)]
    return [(True, world.with_manifest(digest, manifest._replace(deleting=False, watchers=NOBODY)))]


@operation
def read_tags(world: World, caller: str, digest: str) -> Moves:
    return [(tuple(tag for tag, at in world.tags if at == digest), world)]


@operation
def delete_manifest(
    world: World, caller: str, digest: str, generation: str, tags: tuple[str, ...], mark: str, conditional: bool
) -> Moves:
    """In one transaction: the manifest, if it bears the mark, and the tags, `conditional` on pointing at it still."""
    manifest = world.manifest(digest)
    if manifest is None or manifest.generation != generation or not _bears(manifest, caller, mark):
        return [(False, world)]
    pointing = dict(world.tags)
    if conditional and any(pointing.get(tag) != digest for tag in tags):
        return [(False, world)]
    after = world.with_manifest(digest, None)
    for tag in tags:
        after = after.with_tag(tag, None)
    return [(True, after)]
