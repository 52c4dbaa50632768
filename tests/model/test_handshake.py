"""Every interleaving of pushes, deletes and the collector, with a crash after any step: nothing live is lost.

Each test prints how many states it walked through. docs/gc.md says what the protocol is and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from . import claims
from .checker import Explored
from .processes import Process
from .rules import LONG, NO_WINDOW, Clock, Rules
from .scenarios import (
    TIMELESS_EDGES,
    UNTAGGED,
    Cast,
    ahead,
    entries,
    explore,
    indexed,
    marked,
    nothing,
    referenced,
    signed,
    twice_referenced,
    unreferenced,
    untagged,
)
from .world import World

Walk = Callable[..., Explored]
WORLDS: list[Callable[[Clock], list[World]]] = [nothing, unreferenced, referenced]


@pytest.fixture
def walk(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Walk:
    def explore_and_tell(processes: Sequence[Process], initial: Iterable[World], **claimed: Any) -> Explored:
        explored = explore(processes, initial, **claimed)
        with capsys.disabled():
            print(f"\n{request.node.name}: {explored}", end=" ")
        return explored

    return explore_and_tell


@pytest.mark.parametrize(
    "crashes", [pytest.param(True, id="crashes", marks=pytest.mark.slow), pytest.param(False, id="no-crash")]
)
@pytest.mark.parametrize("how", ["head", "mount", "upload"])
def test_two_pushes_a_delete_and_the_collector(walk: Walk, how: str, crashes: bool) -> None:
    """One push repeats the manifest that is deleted; the other moves its tag and was promised the shared blob."""
    cast = Cast(clock=TIMELESS_EDGES)
    push, other = cast.push("again", "m1", "v1"), cast.promised_push(how, "push", "m2", "latest")
    processes = [push, other, cast.delete("delete", "m1"), cast.collector()]
    walk(processes, referenced(cast.clock), crashes=crashes)


@pytest.mark.parametrize("crashes", [True, False], ids=["crashes", "no-crash"])
@pytest.mark.parametrize("also", ["delete", "again"])
def test_an_index_of_what_is_a_blob_or_a_manifest(walk: Walk, also: str, crashes: bool) -> None:
    """Its entry is deleted as the one and as the other meanwhile; or as a blob, and put as the other again."""
    cast = Cast(clock=TIMELESS_EDGES)
    beside = cast.delete("delete", "leaf") if also == "delete" else cast.push("again", "leaf", None)
    processes = [cast.push("index", "either", "cache"), beside, cast.delete_blob("blob"), cast.collector()]
    walk(processes, entries(cast.clock), crashes=crashes)


def test_an_index_that_is_deleted_lets_go_of_the_blob_and_the_manifest(walk: Walk) -> None:
    cast = Cast(clock=UNTAGGED)
    processes = [cast.push("index", "either", None), cast.delete("delete", "either"), cast.collector()]
    walk([*processes, cast.manifest_collector()], entries(cast.clock), crashes=True)


def test_a_push_a_delete_the_collector_and_the_sweep(walk: Walk) -> None:
    cast = Cast()
    push = cast.push("again", "m1", "v1")
    walk([push, cast.delete("delete", "m1"), cast.collector(), cast.sweep()], referenced(cast.clock))


@pytest.mark.parametrize("world", WORLDS)
def test_two_pushes_the_collector_and_the_sweep(walk: Walk, world: Callable[[Clock], list[World]]) -> None:
    cast = Cast()
    push, other = cast.push("push", "m1", "v1"), cast.promised_push("head", "other", "m2", "v2")
    walk([push, other, cast.collector(), cast.sweep()], world(cast.clock))


def test_two_pushes_of_what_is_there(walk: Walk) -> None:
    """Neither client asked for the blob, but a manifest that stays names it: both must succeed."""
    cast = Cast(clock=TIMELESS_EDGES)
    pushes = [cast.promised_push("bare", "again", "m1", "v1"), cast.promised_push("bare", "push", "m2", "v2")]
    walk([*pushes, cast.collector()], referenced(cast.clock))


@pytest.mark.parametrize(("how", "other"), [("head", "mount"), ("upload", "upload")])
def test_two_promises_for_one_blob(walk: Walk, how: str, other: str) -> None:
    cast = Cast(clock=TIMELESS_EDGES)
    pushes = [cast.promised_push(how, "push", "m1", "v1"), cast.promised_push(other, "other", "m2", "v2")]
    walk([*pushes, cast.collector()], [*nothing(cast.clock), *unreferenced(cast.clock)])


def test_two_pushes_of_one_manifest_to_one_tag(walk: Walk) -> None:
    cast = Cast(clock=TIMELESS_EDGES)
    pushes = [cast.promised_push("head", name, "m2", "latest") for name in ("push", "other")]
    walk([*pushes, cast.collector()], [*nothing(cast.clock), *unreferenced(cast.clock)])


@pytest.mark.parametrize("crashes", [True, False], ids=["crashes", "no-crash"])
def test_the_last_two_references_go_at_once(walk: Walk, crashes: bool) -> None:
    cast = Cast()
    deletes = [cast.delete("delete-1", "m1"), cast.delete("delete-2", "m2")]
    walk([*deletes, cast.collector(), cast.sweep()], twice_referenced(cast.clock), crashes=crashes)


def test_two_deletes_of_one_manifest_and_a_push_of_it(walk: Walk) -> None:
    cast = Cast(clock=TIMELESS_EDGES)
    deletes = [cast.delete("delete-1", "m1"), cast.delete("delete-2", "m1")]
    walk([*deletes, cast.push("again", "m1", "v1"), cast.collector()], referenced(cast.clock)[:1])


def test_a_promise_outlives_the_grace(walk: Walk) -> None:
    """The client pushes later than the grace, but within the window, after it was told that the blob is there."""
    cast = Cast(clock=LONG)
    push = cast.promised_push("head", "push", "m2", "latest")
    walk([push, cast.delete("delete", "m1"), cast.collector()], referenced(cast.clock))


def test_two_collectors(walk: Walk) -> None:
    """Events are delivered twice, and a task that was thought dead goes on."""
    cast = Cast(clock=TIMELESS_EDGES)
    push = cast.promised_push("head", "push", "m2", "latest")
    collectors = [cast.collector("collector-1"), cast.collector("collector-2")]
    walk([push, cast.delete("delete", "m1"), *collectors], referenced(cast.clock))


@pytest.mark.parametrize("clock", [LONG, NO_WINDOW], ids=["window", "grace-alone"])
def test_a_url_works_for_its_life(walk: Walk, clock: Clock) -> None:
    cast = Cast(clock=clock)
    processes = [cast.pull("pull"), cast.push("push", "m2", "v2"), cast.delete("delete", "m1"), cast.collector()]
    walk(processes, referenced(clock), finally_=claims.safe)


def test_live_data_is_safe_without_a_window(walk: Walk) -> None:
    """Promises and cleanliness rest on the window; that nothing live is lost rests on the handshake alone."""
    cast = Cast(clock=NO_WINDOW)
    pushes = [cast.push("again", "m1", "v1"), cast.push("push", "m2", "latest")]
    walk([*pushes, cast.delete("delete", "m1"), cast.collector()], referenced(cast.clock)[:1], finally_=claims.safe)


@pytest.mark.parametrize("world", [referenced, indexed])
def test_an_index_is_pushed_while_its_child_is_deleted_twice(walk: Walk, world: Callable[[Clock], list[World]]) -> None:
    cast = Cast()
    deletes = [cast.delete("delete-1", "m1"), cast.delete("delete-2", "m1")]
    walk([cast.push("push", "index", "v1"), *deletes, cast.sweep()], world(cast.clock)[:1])


def test_an_index_and_its_child_are_deleted_while_it_is_pushed(walk: Walk) -> None:
    cast = Cast()
    deletes = [cast.delete("delete-index", "index"), cast.delete("delete-child", "m1")]
    walk([cast.push("push", "index", None), *deletes, cast.collector()], indexed(cast.clock)[:1])


def test_a_blob_is_deleted_twice_in_its_repository_while_it_is_pushed(walk: Walk) -> None:
    cast = Cast(clock=TIMELESS_EDGES)
    deletes = [cast.delete_blob("delete-1"), cast.delete_blob("delete-2")]
    clients = [cast.push("push", "m2", "v2"), cast.upload("upload")]
    walk([*clients, *deletes], unreferenced(cast.clock))


def test_a_blob_is_deleted_in_its_repository_while_it_is_pushed_and_collected(walk: Walk) -> None:
    cast = Cast(clock=TIMELESS_EDGES)
    clients = [cast.push("push", "m2", "v2"), cast.upload("upload")]
    walk([*clients, cast.delete_blob("delete"), cast.collector()], unreferenced(cast.clock))


def test_answers_are_lost_and_requests_are_sent_again(walk: Walk) -> None:
    """The SDK repeats a write whose answer did not come, and is then told that its condition is false."""
    cast = Cast(clock=TIMELESS_EDGES)
    pushes = [cast.promised_push("upload", "push", "m1", "v1", True), cast.promised_push("upload", "other", "m1", "v2")]
    walk([*pushes, cast.collector()], nothing(cast.clock))


def test_reconciliation_leaves_uploads_alone(walk: Walk) -> None:
    cast = Cast(clock=TIMELESS_EDGES)
    clients = [cast.promised_push("upload", "push", "m1", "v1"), cast.upload("upload")]
    walk([*clients, cast.collector(), cast.reconciliation()], [*nothing(cast.clock), *unreferenced(cast.clock)])


def test_the_condition_of_a_commit_is_tidiness(walk: Walk) -> None:
    """Without it two pushes of one manifest may leave an orphan edge to the sweep; nothing else depends on it."""
    cast = Cast(Rules(conditional_commit=False), TIMELESS_EDGES)
    pushes = [cast.push("again", "m1", "v1"), cast.push("other", "m1", "v2")]
    walk([*pushes, cast.delete("delete", "m1"), cast.collector()], referenced(cast.clock)[:1])


@pytest.mark.parametrize("crashes", [True, False], ids=["crashes", "no-crash"])
def test_an_untagged_manifest_is_tagged_while_it_is_collected(walk: Walk, crashes: bool) -> None:
    """The push finds the blob by HEAD and commits the manifest once more, under a tag: it must stay."""
    cast = Cast(clock=UNTAGGED)
    push = cast.promised_push("head", "push", "m1", "v1")
    walk([push, cast.manifest_collector(), cast.collector()], untagged(cast.clock), crashes=crashes)


def test_an_untagged_manifest_is_deleted_while_it_is_collected_by_two(walk: Walk) -> None:
    cast = Cast(clock=UNTAGGED)
    collectors = [cast.manifest_collector("manifests-1"), cast.manifest_collector("manifests-2")]
    walk([*collectors, cast.delete("delete", "m1"), cast.collector()], untagged(cast.clock))


def test_an_index_is_pushed_onto_an_untagged_manifest_while_it_is_collected(walk: Walk) -> None:
    cast = Cast(clock=UNTAGGED)
    walk([cast.push("push", "index", "v1"), cast.manifest_collector(), cast.sweep()], untagged(cast.clock))


def test_a_tag_moves_and_goes_while_manifests_are_collected(walk: Walk) -> None:
    cast = Cast(clock=UNTAGGED)
    pushes = [cast.promised_push("head", "push", "m2", "latest"), cast.delete_tag("untag", "latest")]
    walk([pushes[1], cast.push("other", "m2", "v2"), cast.manifest_collector()], marked(cast.clock))
    walk([pushes[1], cast.push("again", "m1", None), cast.manifest_collector()], marked(cast.clock))


@pytest.mark.parametrize("crashes", [True, False], ids=["crashes", "no-crash"])
def test_a_signature_goes_with_its_subject(walk: Walk, crashes: bool) -> None:
    cast = Cast(clock=UNTAGGED)
    processes = [cast.delete("delete", "m1"), cast.manifest_collector(), cast.collector()]
    walk(processes, signed(cast.clock), crashes=crashes)


def test_reconciliation_leaves_the_links_of_uploads_alone(walk: Walk) -> None:
    cast = Cast(clock=TIMELESS_EDGES)
    clients = [cast.promised_push("upload", "push", "m1", "v1"), cast.upload("upload")]
    worlds = [*nothing(cast.clock), *unreferenced(cast.clock)]
    walk([*clients, cast.collector(), cast.link_reconciliation()], worlds)


@pytest.mark.parametrize("crashes", [True, False], ids=["crashes", "no-crash"])
@pytest.mark.parametrize("initial", [nothing, ahead, referenced], ids=["nothing", "ahead", "there"])
def test_a_filler_a_pull_through_a_delete_and_the_collector(
    walk: Walk, initial: Callable[[Clock], list[World]], crashes: bool
) -> None:
    """The pull puts again what is deleted; the filler may come before, between or after."""
    cast = Cast(clock=TIMELESS_EDGES)
    processes = [cast.push_ahead("pull", "m1", "v1"), cast.fill("filler"), cast.delete("delete", "m1")]
    walk([*processes, cast.collector()], initial(cast.clock), crashes=crashes, always=claims.safe_ahead)


def test_two_fillers_of_which_one_has_lost_its_lease(walk: Walk) -> None:
    cast = Cast(clock=TIMELESS_EDGES)
    fillers = [cast.fill(name, leaves=claims.whole("m1")) for name in ("filler", "sleeper")]
    pull = cast.push_ahead("pull", "m2", "v2")
    walk([*fillers, pull, cast.collector()], ahead(cast.clock), always=claims.safe_ahead)


@pytest.mark.slow
def test_a_filler_a_pull_through_a_delete_and_the_sweep(walk: Walk) -> None:
    cast = Cast()
    processes = [cast.push_ahead("pull", "m1", "v1"), cast.fill("filler"), cast.delete("delete", "m1"), cast.sweep()]
    walk([*processes, cast.collector()], ahead(cast.clock), always=claims.safe_ahead)
