"""What a proxy project is charged for a blob that comes after the manifests that name it: charges.py with a filler.

A push charges for what is there when it looks, and leaves the rest to the filler. So nothing is charged too little once
the filler is done, if not at every moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from . import charges
from .charges import _YOUNG, World
from .checker import Claims, Exploration, Explored
from .processes import Body, Process
from .store import Moves, operation


@dataclass(frozen=True)
class Rules:
    """Every rule is on unless a test switches it off."""

    charged_again: bool = True  # the filler looks at the charge once more when the blob is there
    freed_after_fill: bool = True  # and at who holds it, after that
    edges_before_look: bool = True  # a push writes its edges before it looks whether the blob is there


@operation
def is_there(world: World, caller: str) -> Moves:
    return [(world.there, world)]


@operation
def publish(world: World, caller: str) -> Moves:
    return [(None, world._replace(there=True))]


def _push(rules: Rules, name: str, digest: str, charge_first: bool) -> Body:
    """A read of several items is no snapshot: the charge may be seen before the blob is, or after."""
    if rules.edges_before_look:
        yield charges.write_edge(digest, name)
    while True:
        there = False if charge_first else (yield is_there())
        marked = yield charges.read_charge()
        there = (yield is_there()) if charge_first else there
        before = yield charges.read_manifest(digest)
        if marked:
            kept = yield charges.keep_charge()
            if not kept:
                continue
        if not rules.edges_before_look:
            yield charges.write_edge(digest, name)
        committed = yield charges.commit(digest, before, marked is not None or not there)
        if committed:
            break
    if before:
        yield charges.drop_edge(digest, before)
    return None


def _fill(rules: Rules) -> Body:
    yield from _add()
    yield publish()
    if rules.charged_again:
        yield from _add()
    if rules.freed_after_fill:
        yield from charges._free(charges.Rules())
    return None


def _add() -> Body:
    while True:
        marked = yield charges.read_charge()
        if marked is None:
            done = yield charges.charge_alone()
        else:
            done = (yield charges.keep_charge()) if marked else True
        if done:
            return None


@dataclass(frozen=True)
class Cast:
    rules: Rules = Rules()

    def push(self, name: str, digest: str, *, charge_first: bool = False) -> Process:
        return Process(name, lambda: _push(self.rules, name, digest, charge_first), lifetime=_YOUNG - 1)

    def fill(self, name: str = "filler") -> Process:
        return Process(name, lambda: _fill(self.rules))

    def delete(self, name: str, digest: str) -> Process:
        return Process(name, lambda: charges._delete(charges.Rules(), digest))


def ahead(*digests: str) -> World:
    """A proxy project with these manifests, and without the blob that they name."""
    return charges.committed(*digests)._replace(charge=None, used=0, there=False)


def explore(processes: Iterable[Process], initial: Iterable[World], *, crashes: bool) -> Explored:
    """Walks everything; raises checker.Violation. A crash may leave a charge too many or, till the recount, too few."""
    finally_ = charges._exact if crashes else _exact
    settle = charges._recounted if crashes else charges._unchanged
    return Exploration(processes, Claims(_summed, finally_, settle), crashes=crashes).run(initial)


def _summed(world: World) -> str | None:
    if world.used != (world.charge is not None):
        return f"the total is {world.used}, which is not what is charged"
    return None


def _exact(world: World) -> str | None:
    if world.there and world.manifests and world.charge is None:
        return "a manifest's blob is not charged"
    return charges._exact(world)
