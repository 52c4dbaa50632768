"""What a project is charged for, as a model of its own: one blob, and manifests of the project that name it.

The handshake is that of docs/gc.md, "Charges". It meets the one for blobs nowhere: neither reads what the other writes,
but for the edges, which both only look at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .checker import Claims, Exploration, Explored
from .processes import Body, Process, run_alone
from .store import Moves, operation

_YOUNG = 2
"""Ticks that an edge counts whosever it is (`BERTH_PUSH_SECONDS`); a push lives to see fewer."""


@dataclass(frozen=True)
class Rules:
    """Every rule is on unless a test switches it off."""

    edges_before_charges: bool = True  # a push writes its edges before it reads what is charged
    marks_taken_away: bool = True  # a push that finds a charge about to be freed takes the mark away
    look_after_mark: bool = True  # who frees looks for edges once more after its mark
    own_mark: bool = True  # a charge is removed only while it bears the mark of who removes it
    charge_in_commit: bool = True  # the charge is in the transaction that commits the manifest
    free_after_edges: bool = True  # a delete looks for what it can free after its edges are gone


class Charge(NamedTuple):
    mark: str = ""  # who is about to free it
    watchers: frozenset[str] = frozenset()  # who has read it since it was last written


class World(NamedTuple):
    charge: Charge | None = None
    used: int = 0  # the project's total, in blobs
    manifests: tuple[tuple[str, str], ...] = ()  # digest and generation
    edges: frozenset[tuple[str, str, int]] = frozenset()  # digest, generation, age
    there: bool = True  # whether the repository serves the blob: in a proxy project it may come later (filling.py)

    def tick(self) -> World:
        return self._replace(edges=frozenset((m, g, min(age + 1, _YOUNG)) for m, g, age in self.edges))

    def forget(self, process: str) -> World:
        if self.charge is None:
            return self
        return self._replace(charge=self.charge._replace(watchers=self.charge.watchers - {process}))

    def with_manifest(self, digest: str, generation: str) -> World:
        others = {at: found for at, found in self.manifests if at != digest}
        return self._replace(
            manifests=tuple(sorted({**others, **({digest: generation} if generation else {})}.items()))
        )


# --- calls


@operation
def write_edge(world: World, caller: str, digest: str, generation: str) -> Moves:
    kept = frozenset(edge for edge in world.edges if edge[:2] != (digest, generation))
    return [(None, world._replace(edges=kept | {(digest, generation, 0)}))]


@operation
def drop_edge(world: World, caller: str, digest: str, generation: str) -> Moves:
    return [(None, world._replace(edges=frozenset(e for e in world.edges if e[:2] != (digest, generation))))]


@operation
def read_manifest(world: World, caller: str, digest: str) -> Moves:
    return [(dict(world.manifests).get(digest, ""), world)]


@operation
def read_charge(world: World, caller: str) -> Moves:
    """None, or whether somebody is about to free it; the caller learns whether it is written from now on."""
    if world.charge is None:
        return [(None, world)]
    watched = world.charge._replace(watchers=world.charge.watchers | {caller})
    return [(bool(world.charge.mark), world._replace(charge=watched))]


@operation
def keep_charge(world: World, caller: str) -> Moves:
    return [(world.charge is not None, world if world.charge is None else world._replace(charge=Charge()))]


@operation
def commit(world: World, caller: str, digest: str, before: str, charged: bool) -> Moves:
    """The manifest, if it is as it was read, with the charge, if there was none and still is none."""
    if dict(world.manifests).get(digest, "") != before or (not charged and world.charge is not None):
        return [(False, world)]
    after = world.with_manifest(digest, caller)
    return [(True, after if charged else after._replace(charge=Charge(), used=world.used + 1))]


@operation
def charge_alone(world: World, caller: str) -> Moves:
    if world.charge is not None:
        return [(False, world)]
    return [(True, world._replace(charge=Charge(), used=world.used + 1))]


@operation
def delete_manifest(world: World, caller: str, digest: str, generation: str) -> Moves:
    if dict(world.manifests).get(digest) != generation:
        return [(False, world)]
    return [(True, world.with_manifest(digest, ""))]


@operation
def look(world: World, caller: str) -> Moves:
    """Every edge: manifest, generation, whether it is young."""
    return [(frozenset((m, g, age < _YOUNG) for m, g, age in world.edges), world)]


@operation
def generations(world: World, caller: str) -> Moves:
    return [(frozenset(world.manifests), world)]


@operation
def mark_charge(world: World, caller: str) -> Moves:
    """If nobody wrote it since the caller read it."""
    if world.charge is None or caller not in world.charge.watchers:
        return [(False, world)]
    return [(True, world._replace(charge=Charge(mark=caller)))]


@operation
def free_charge(world: World, caller: str, own: bool) -> Moves:
    """If it bears the caller's mark; or, the rule off, anybody's."""
    marked = world.charge is not None and (world.charge.mark == caller if own else bool(world.charge.mark))
    return [(marked, world._replace(charge=None, used=world.used - 1) if marked else world)]


# --- processes


def _push(rules: Rules, name: str, digest: str) -> Body:
    if rules.edges_before_charges:
        yield write_edge(digest, name)
    while True:
        marked = yield read_charge()
        before = yield read_manifest(digest)
        if marked and rules.marks_taken_away:
            kept = yield keep_charge()
            if not kept:
                continue
        if not rules.edges_before_charges:
            yield write_edge(digest, name)
        is_charged = marked is not None or not rules.charge_in_commit
        committed = yield commit(digest, before, is_charged)
        if committed and marked is None and not rules.charge_in_commit:
            yield charge_alone()
        if committed:
            break
    if before:
        yield drop_edge(digest, before)
    return None


def _refused_push(rules: Rules, name: str, digest: str) -> Body:
    """One that finds no room, and takes back what it wrote."""
    yield write_edge(digest, name)
    marked = yield read_charge()
    if marked and rules.marks_taken_away:
        yield keep_charge()
    yield drop_edge(digest, name)
    yield from _free(rules)
    return None


def _delete(rules: Rules, digest: str) -> Body:
    while True:
        generation = yield read_manifest(digest)
        if not generation:
            return None
        deleted = yield delete_manifest(digest, generation)
        if deleted:
            break
    if not rules.free_after_edges:
        yield from _free(rules)
    yield drop_edge(digest, generation)
    if rules.free_after_edges:
        yield from _free(rules)
    return None


def _recount(rules: Rules) -> Body:
    yield from _free(rules)
    return None


def _free(rules: Rules) -> Body:
    found = yield read_charge()
    if found is None:
        return None
    held = yield from _is_held()
    if held:
        return None
    marked = yield mark_charge()
    if not marked:
        return None
    if rules.look_after_mark:
        held = yield from _is_held()
        if held:
            return None
    yield free_charge(rules.own_mark)
    return None


def _is_held() -> Body:
    edges = yield look()
    if any(young for _, _, young in edges):
        return "held"
    current = yield generations()
    return "held" if any((manifest, generation) in current for manifest, generation, _ in edges) else None


@dataclass(frozen=True)
class Cast:
    rules: Rules = Rules()

    def push(self, name: str, digest: str) -> Process:
        return Process(name, lambda: _push(self.rules, name, digest), lifetime=_YOUNG - 1)

    def refused_push(self, name: str, digest: str) -> Process:
        return Process(name, lambda: _refused_push(self.rules, name, digest), lifetime=_YOUNG - 1)

    def delete(self, name: str, digest: str) -> Process:
        return Process(name, lambda: _delete(self.rules, digest))

    def recount(self, name: str = "recount") -> Process:
        return Process(name, lambda: _recount(self.rules))


# --- claims


def committed(*digests: str) -> World:
    """A project with these manifests, each of which names the blob."""
    edges = frozenset((digest, "g0", _YOUNG) for digest in digests)
    world = World(manifests=tuple((digest, "g0") for digest in sorted(digests)), edges=edges)
    return world._replace(charge=Charge(), used=1) if digests else world


LEFT_OVER = World(charge=Charge(), used=1)
"""A charge that a crash has left."""


def explore(processes: Iterable[Process], initial: Iterable[World], *, crashes: bool) -> Explored:
    """Walks everything; raises checker.Violation. Without crashes nothing is charged too much in the end."""
    settle = _recounted if crashes else _unchanged
    return Exploration(processes, Claims(_never_too_few, _exact, settle), crashes=crashes).run(initial)


def _never_too_few(world: World) -> str | None:
    if world.used != (world.charge is not None):
        return f"the total is {world.used}, which is not what is charged"
    return "a manifest's blob is not charged" if world.manifests and world.charge is None else None


def _exact(world: World) -> str | None:
    return "a blob that no manifest names stays charged" if world.charge is not None and not world.manifests else None


def _unchanged(world: World) -> World:
    return world


def _recounted(world: World) -> World:
    for _ in range(_YOUNG):
        world = world.tick()
    settled: World = run_alone(Cast().recount("the next recount"), world)
    return settled
