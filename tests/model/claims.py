"""What must hold: at every moment, and in the end, when everybody has stopped and the collector has run again."""

from __future__ import annotations

from collections.abc import Callable

from .processes import Process, run_alone
from .protocol import APP, collect, collect_manifests, sweep
from .rules import LONG, Rules
from .world import BLOB, SUBJECTS, TARGETS, World


def safe(world: World) -> str | None:
    """Every manifest pulls whole, every tag has its manifest, every index its children."""
    for digest, _ in world.manifests:
        problems = [_problem(world, digest, target) for target in TARGETS[digest]]
        if problems and all(problems):
            return problems[0]
    for tag, digest in world.tags:
        if world.manifest(digest) is None:
            return f"the tag {tag} points at {digest}, which does not exist"
    return None


def _problem(world: World, digest: str, target: str) -> str | None:
    """Why a manifest does not pull whole, as far as one of the things is concerned that its entry may be."""
    if target != BLOB:
        return f"{digest} names {target}, which does not exist" if world.manifest(target) is None else None
    blob, link = world.blob, world.link(APP)
    if blob is None:
        return f"{digest} names a blob that has no record"
    if all(key != blob.key for key, _ in world.objects):
        return f"{digest} names a blob whose object is gone"
    if link is None or link.key != blob.key:
        return f"{digest} names a blob that its repository has no link to"
    return None


def safe_ahead(world: World) -> str | None:
    """The same in a proxy project: what a manifest names may not be there yet, but once it is it stays."""
    if world.lost:
        return "a blob is collected that a manifest names, and that was there"
    blob, link = world.blob, world.link(APP)
    is_served = blob is not None and link is not None and link.key == blob.key
    if is_served and all(key != link.key for key, _ in world.objects):
        return "a blob that can be pulled has no object"
    for tag, digest in world.tags:
        if world.manifest(digest) is None:
            return f"the tag {tag} points at {digest}, which does not exist"
    return None


def whole(digest: str) -> Callable[[World], str | None]:
    """The claim of a filler's end, of a manifest that nobody deletes."""

    def holds(world: World) -> str | None:
        problem = safe(world)
        return problem if world.manifest(digest) is not None else f"{digest} is gone"

    return holds


def settle(world: World) -> World:
    """Time passes and the collector and the sweep run, until nothing changes any more."""
    rules = Rules()
    services = [Process("sweep", lambda: sweep(rules)), Process("collect", lambda: collect(rules))]
    if world.clock.untagged:
        services.append(Process("collect-manifests", lambda: collect_manifests(rules)))
    world = world._replace(clock=LONG._replace(untagged=world.clock.untagged))
    while True:
        before = world
        for _ in range(LONG.window):
            world = world.tick()
        for service in services:
            world = run_alone(service, world)
        if world == before:
            return world


def nothing_left_over(world: World) -> str | None:
    """What remains is what is referenced."""
    return nothing_lost_to_the_collector(world) or _strays(world)


def nothing_lost_to_the_collector(world: World) -> str | None:
    """The same, but for what a crash may leave to the reconciliation pass: objects and links without a record."""
    if world.blob is not None and all(BLOB not in TARGETS[digest] for digest, _ in world.manifests):
        return "a blob that nothing refers to stays, and no collector knows of it"
    current = {(digest, manifest.generation) for digest, manifest in world.manifests}
    if any((edge.manifest, edge.generation) not in current for edge in world.edges):
        return "an edge of no manifest stays"
    return _untagged(world)


def _untagged(world: World) -> str | None:
    named = (target for digest, _ in world.manifests for target in TARGETS[digest])
    held = {*dict(world.tags).values(), *named}
    for digest, _ in world.manifests:
        refers = world.manifest(SUBJECTS[digest]) if digest in SUBJECTS else None
        if world.clock.untagged and digest not in held and refers is None:
            return f"{digest} has no tag and stays, and no collector knows of it"
    return None


def _strays(world: World) -> str | None:
    key = world.blob and world.blob.key
    if any(at != key for at, _ in world.objects):
        return "an object without a record stays"
    if any(link.key != key for _, link in world.links):
        return "a link without a record stays"
    return None


def tagged(tag: str, digest: str) -> Callable[[World], str | None]:
    """The claim of an acknowledged push that nobody deletes."""

    def holds(world: World) -> str | None:
        if dict(world.tags).get(tag) == digest and world.manifest(digest) is not None:
            return None
        return f"the acknowledged {digest} is not there under the tag {tag}"

    return holds
