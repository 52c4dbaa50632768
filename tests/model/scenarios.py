"""What the tests explore: who takes part, and where it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import claims, protocol
from .checker import Claims, Exploration, Explored
from .processes import Body, Process
from .protocol import APP, BASE, CREATED
from .rules import SHORT, Clock, Rules
from .world import BLOB, Blob, Edge, Link, Manifest, World

TIMELESS_EDGES = SHORT._replace(edges_age=False)
UNTAGGED = SHORT._replace(untagged=True)


PUSHES: dict[str, Callable[..., Body]] = {
    "head": protocol.head_and_push,
    "mount": protocol.mount_and_push,
    "upload": protocol.upload_and_push,
    "bare": protocol.push,
}


class Cast:
    """The processes of one scenario, under one set of rules and one clock."""

    def __init__(self, rules: Rules = Rules(), clock: Clock = SHORT) -> None:  # noqa: B008 - immutable
        self.rules, self.clock = rules, clock

    def _request(self, name: str, body: Callable[..., Any], *arguments: Any, **claimed: Any) -> Process:
        return Process(name, lambda: body(self.rules, *arguments), self.clock.session, **claimed)

    def push(self, name: str, digest: str, tag: str | None, *, lost: bool = False) -> Process:
        """A push by a client that was promised nothing."""
        leaves = claims.tagged(tag, digest) if tag and digest != "m1" else None
        return self._request(name, protocol.push, name, digest, tag, lost, leaves=leaves)

    def promised_push(self, how: str, name: str, digest: str, tag: str, *lost: bool) -> Process:
        """A push that must succeed, since the client found the blob by `head` or `mount`, or uploaded it (`upload`);
        or since a manifest that stays names the blob (`bare`)."""
        body = PUSHES[how]
        promised, leaves = frozenset({CREATED}), claims.tagged(tag, digest)
        return self._request(name, body, name, digest, tag, *lost, promised=promised, leaves=leaves)

    def push_ahead(self, name: str, digest: str, tag: str | None) -> Process:
        """A pull through a proxy project, as far as it puts the manifest."""
        return self._request(name, protocol.push_ahead, name, digest, tag)

    def fill(self, name: str, *, leaves: Callable[[World], str | None] | None = None) -> Process:
        """A filler's end, in one life of its function; it may have lost its lease meanwhile, and not know it."""
        return self._request(name, protocol.fill, name, leaves=leaves)

    def upload(self, name: str) -> Process:
        """A client that uploads a blob and leaves."""
        return self._request(name, protocol.complete_upload, name)

    def pull(self, name: str) -> Process:
        promised = frozenset({"pulled", protocol.ABSENT})
        return Process(name, lambda: protocol.pull_blob(self.rules), self.clock.url, promised=promised)

    def delete(self, name: str, digest: str) -> Process:
        return self._request(name, protocol.delete_manifest, digest)

    def delete_blob(self, name: str) -> Process:
        return self._request(name, protocol.delete_blob)

    def collector(self, name: str = "collector") -> Process:
        return Process(name, lambda: protocol.collect(self.rules), restarts=True)

    def delete_tag(self, name: str, tag: str) -> Process:
        return self._request(name, protocol.delete_tag, tag)

    def manifest_collector(self, name: str = "manifests") -> Process:
        return Process(name, lambda: protocol.collect_manifests(self.rules), restarts=True)

    def link_reconciliation(self) -> Process:
        return Process("links", lambda: protocol.reconcile_links(self.rules), restarts=True)

    def sweep(self) -> Process:
        return Process("sweep", lambda: protocol.sweep(self.rules), self.clock.session, restarts=True)

    def reconciliation(self) -> Process:
        return Process("reconciliation", lambda: protocol.reconcile(self.rules), restarts=True)


def nothing(clock: Clock) -> list[World]:
    return [World(clock=clock)]


def uploaded(clock: Clock) -> list[World]:
    """A blob that was uploaded just now."""
    return [_blob(clock, Blob("k0", age=0))]


def unreferenced(clock: Clock) -> list[World]:
    """A blob that nothing refers to, in both repositories: due, just condemned, condemned long enough."""
    return [_blob(clock, blob) for blob in (_due(clock), Blob("k0", True, 0), Blob("k0", True, clock.grace))]


def referenced(clock: Clock) -> list[World]:
    """The same, and `m1` names it, under the tag `latest`; or it is no candidate at all."""
    manifests, tags = (("m1", Manifest("g0")),), (("latest", "m1"),)
    edges = frozenset({Edge(BLOB, "m1", "g0", clock.oldest)})
    worlds = [_blob(clock, Blob("k0")), *unreferenced(clock)]
    return [world._replace(manifests=manifests, tags=tags, edges=edges) for world in worlds]


def ahead(clock: Clock) -> list[World]:
    """`m1` was put into a proxy project, and the blob it names is not there; or it is, but not in the repository."""
    manifests, tags = (("m1", Manifest("g0")),), (("latest", "m1"),)
    edges = frozenset({Edge(BLOB, "m1", "g0", clock.oldest)})
    elsewhere = [w._replace(links=((BASE, Link("k0")),)) for w in unreferenced(clock)]
    return [w._replace(manifests=manifests, tags=tags, edges=edges) for w in (World(clock=clock), *elsewhere)]


def twice_referenced(clock: Clock) -> list[World]:
    """`m1` and `m2` name it."""
    second = (("m2", Manifest("h0")),)
    edge = Edge(BLOB, "m2", "h0", clock.oldest)
    return [w._replace(manifests=w.manifests + second, edges=w.edges | {edge}) for w in referenced(clock)]


def indexed(clock: Clock) -> list[World]:
    """`m1` is named by a committed `index`."""
    index = (("index", Manifest("i0")),)
    edge = Edge("m1", "index", "i0", clock.oldest)
    return [w._replace(manifests=index + w.manifests, edges=w.edges | {edge}) for w in referenced(clock)]


def entries(clock: Clock) -> list[World]:
    """What an index may name: a blob that nothing refers to, the manifest of its digest, or both."""
    leaf = (("leaf", Manifest("l0")),)
    tags = (("leaf", "leaf"),)
    worlds = [*unreferenced(clock), *nothing(clock)]
    return [*unreferenced(clock), *(world._replace(manifests=leaf, tags=tags) for world in worlds)]


def untagged(clock: Clock) -> list[World]:
    """`m1` has no tag, and is due; its blob is no candidate."""
    world = referenced(clock)[0]
    return [world._replace(manifests=(("m1", Manifest("g0", age=clock.oldest)),), tags=())]


def marked(clock: Clock) -> list[World]:
    """`m1` is marked and due, and still has the tag `latest`."""
    return [world._replace(tags=(("latest", "m1"),)) for world in untagged(clock)]


def signed(clock: Clock) -> list[World]:
    """`m1` is tagged; `signature`, which refers to it, has no tag, and is a candidate that is due, or none."""
    edge = Edge(BLOB, "signature", "s0", clock.oldest)
    world = referenced(clock)[0]
    return [
        world._replace(manifests=(*world.manifests, ("signature", Manifest("s0", age=age))), edges=world.edges | {edge})
        for age in (None, clock.oldest)
    ]


def _due(clock: Clock) -> Blob:
    return Blob("k0", age=clock.oldest)


def _blob(clock: Clock, blob: Blob) -> World:
    links = ((APP, Link("k0")), (BASE, Link("k0")))
    return World(blob=blob, links=links, objects=frozenset({("k0", 0)}), clock=clock)


def explore(
    processes: Sequence[Process],
    initial: Iterable[World],
    *,
    crashes: bool = True,
    finally_: Callable[[World], str | None] | None = None,
    always: Callable[[World], str | None] = claims.safe,
) -> Explored:
    """Walks everything; raises checker.Violation. Without crashes nothing at all may be left over in the end."""
    left_over = claims.nothing_lost_to_the_collector if crashes else claims.nothing_left_over
    return Exploration(processes, Claims(always, finally_ or left_over, claims.settle), crashes=crashes).run(initial)
