"""Each rule of docs/gc.md, switched off: the model must find the damage, so that a proof of it means something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from . import claims
from .checker import Violation
from .processes import Process
from .protocol import UNKNOWN
from .rules import LONG, NO_WINDOW, SHORT, Rules
from .scenarios import UNTAGGED, Cast, ahead, explore, marked, nothing, referenced, signed, unreferenced, uploaded
from .world import World

NO_RECORD, NO_OBJECT = "a blob that has no record", "a blob whose object is gone"
NO_CHILD, NO_LINK = "which does not exist", "a blob that its repository has no link to"
LEAK, DEAD_URL = "a blob that nothing refers to stays", "a URL that leads nowhere"


def damage(processes: Sequence[Process], initial: list[World], *, crashes: bool = True) -> str:
    """What the model finds, told with the run that leads there."""
    with pytest.raises(Violation) as found:
        explore(processes, initial, crashes=crashes)
    print(found.value)
    return found.value.problem


def without(rule: str) -> Rules:
    return replace(Rules(), **{rule: False})


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("edges_before_read", NO_RECORD),
        ("rescue", NO_RECORD),
        ("condemn_before_look", NO_RECORD),
        ("consistent_reads", NO_RECORD),
        ("record_before_object", NO_OBJECT),
    ],
)
def test_a_push_and_the_collector(rule: str, expected: str) -> None:
    cast = Cast(without(rule), NO_WINDOW)
    processes = [cast.push("push", "m2", "latest"), cast.collector()]
    assert expected in damage(processes, uploaded(cast.clock))


def test_edges_onto_both() -> None:
    """What an index found as a blob is collected if it is held as a manifest alone."""
    cast = Cast(without("edges_onto_both"), NO_WINDOW)
    assert NO_RECORD in damage([cast.push("index", "either", "cache"), cast.collector()], uploaded(cast.clock))


def test_versions() -> None:
    """A collector that sleeps must not delete what was rescued, and condemned again by another, since it looked."""
    cast = Cast(without("versions"))
    collectors = [cast.collector("collector-1"), cast.collector("collector-2")]
    assert NO_RECORD in damage([cast.push("push", "m2", "v2"), *collectors], unreferenced(cast.clock))


def test_shared_touch() -> None:
    """Of two that rescue one blob at once, neither may be told that it is gone."""
    cast = Cast(without("shared_touch"))
    pushes = [cast.promised_push("bare", "push", "m1", "v1"), cast.promised_push("bare", "other", "m2", "v2")]
    assert UNKNOWN in damage(pushes, referenced(cast.clock))


def test_generations() -> None:
    """A delete beside a push of the same manifest must not take away the edges that the push relies on."""
    cast = Cast(without("generations"))
    processes = [cast.push("again", "m1", "v1"), cast.delete("delete", "m1"), cast.collector()]
    assert NO_RECORD in damage(processes, referenced(cast.clock))


def test_incarnations() -> None:
    """A collector that goes on with the links of what it collected must spare those of what came after."""
    cast = Cast(without("incarnations"))
    processes = [cast.upload("upload"), cast.push("push", "m2", "v2"), cast.collector()]
    assert NO_LINK in damage(processes, unreferenced(cast.clock))


def test_touch_before_unlink() -> None:
    """A delete that crashes between taking edges away and looking for others leaves a blob that nobody looks at."""
    cast = Cast(without("touch_before_unlink"))
    assert LEAK in damage([cast.delete("delete", "m1")], referenced(cast.clock)[:1])


def test_born_candidates() -> None:
    cast = Cast(without("born_candidates"))
    assert LEAK in damage([cast.upload("upload")], nothing(cast.clock))


def test_renewal() -> None:
    cast = Cast(without("renewal"), LONG)
    assert UNKNOWN in damage([cast.promised_push("head", "push", "m2", "v2"), cast.collector()], unreferenced(LONG))


def test_idempotent_transactions() -> None:
    """A generation that is committed twice is not safe from a push that replaced it in between."""
    cast = Cast(without("idempotent_transactions"))
    pushes = [cast.push("again", "m1", "v1", lost=True), cast.push("other", "m1", "v2")]
    assert NO_RECORD in damage(pushes, referenced(cast.clock)[:1])


def test_own_object_kept() -> None:
    cast = Cast(without("own_object_kept"))
    assert NO_OBJECT in damage([cast.promised_push("upload", "push", "m2", "v2", True)], nothing(cast.clock))


# --- deletes


def test_tag_in_transaction() -> None:
    cast = Cast(without("tag_in_transaction"))
    processes = [cast.push("again", "m1", "v1"), cast.delete("delete", "m1")]
    assert "the tag v1 points at m1, which does not exist" in damage(processes, referenced(cast.clock))


def test_conditional_untag() -> None:
    """A push moves the tag to another manifest while the delete is about to take it away."""
    cast = Cast(without("conditional_untag"))
    processes = [cast.push("push", "m2", "latest"), cast.delete("delete", "m1")]
    assert "the acknowledged m2 is not there" in damage(processes, referenced(cast.clock))


@pytest.mark.parametrize("rule", ["mark_before_look", "unique_marks", "consistent_reads", "rescue"])
def test_an_index_and_deletes_of_its_child(rule: str) -> None:
    """Of two deletes, the first must not go by a mark that was rescued from it and set again by the second."""
    cast = Cast(without(rule))
    deletes = [cast.delete("delete-1", "m1"), cast.delete("delete-2", "m1")]
    assert NO_CHILD in damage([cast.push("push", "index", "v1"), *deletes], referenced(cast.clock))


@pytest.mark.parametrize("rule", ["mark_before_look", "unique_marks", "consistent_reads", "rescue"])
def test_a_push_and_deletes_of_its_blob_in_the_repository(rule: str) -> None:
    cast = Cast(without(rule))
    deletes = [cast.delete_blob("delete-1"), cast.delete_blob("delete-2")]
    assert NO_LINK in damage([cast.push("push", "m2", "v2"), *deletes], unreferenced(cast.clock))


# --- the collector's own deletes


UNTAGGED_LEAK = "has no tag and stays"


def test_clear_if_committed() -> None:
    """Else the collector takes the edge of a push that was cut off for a hold, and forgets the blob for ever."""
    cast = Cast(without("clear_if_committed"))
    sweep = replace(cast.sweep(), lifetime=None)
    assert LEAK in damage([cast.delete("delete", "m1"), sweep, cast.collector()], referenced(cast.clock))


def test_marks_have_times() -> None:
    """A tag goes between the collector's look at it and the write that lifts the mark."""
    cast = Cast(without("marks_have_times"), UNTAGGED)
    processes = [cast.delete_tag("untag", "latest"), cast.manifest_collector()]
    assert UNTAGGED_LEAK in damage(processes, marked(cast.clock))


def test_referrers_first() -> None:
    """A delete that crashes between its subject and its referrers leaves those to nobody."""
    cast = Cast(without("referrers_first"), UNTAGGED)
    assert UNTAGGED_LEAK in damage([cast.delete("delete", "m1")], signed(cast.clock))


def test_link_before_record() -> None:
    """Else an upload that comes between is taken for one of a record that is gone."""
    cast = Cast(without("link_before_record"))
    processes = [cast.push("push", "m1", "v1"), cast.upload("upload"), cast.link_reconciliation()]
    assert NO_LINK in damage(processes, nothing(cast.clock))


# --- times


def test_the_window_spares_the_edges_of_a_push_in_progress() -> None:
    cast = Cast(clock=SHORT._replace(window=0))
    processes = [cast.push("push", "m2", "v2"), cast.collector(), cast.sweep()]
    assert NO_RECORD in damage(processes, unreferenced(cast.clock))


def test_the_window_spares_the_parents_that_are_about_to_be() -> None:
    cast = Cast(clock=SHORT._replace(window=0))
    assert NO_CHILD in damage([cast.push("push", "index", "v1"), cast.delete("delete", "m1")], referenced(cast.clock))


def test_the_window_spares_the_object_of_an_upload_in_progress() -> None:
    cast = Cast(clock=SHORT._replace(window=0))
    processes = [cast.promised_push("upload", "push", "m2", "v2"), cast.reconciliation()]
    assert NO_OBJECT in damage(processes, nothing(cast.clock))


def test_a_push_is_shorter_than_the_window() -> None:
    cast = Cast(clock=SHORT._replace(session=SHORT.window))
    processes = [cast.push("push", "m2", "v2"), cast.collector(), cast.sweep()]
    assert NO_RECORD in damage(processes, unreferenced(cast.clock))


def test_the_grace_outlives_a_url_where_the_window_does_not() -> None:
    cast = Cast(clock=NO_WINDOW._replace(grace=0))
    assert DEAD_URL in damage([cast.pull("pull"), cast.collector()], unreferenced(cast.clock))


def test_a_pull_rescues() -> None:
    cast = Cast(without("rescue"), LONG)
    assert DEAD_URL in damage([cast.pull("pull"), cast.collector()], unreferenced(cast.clock))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("edges_before_read", "collected that a manifest names"),
        ("rescue", "collected that a manifest names"),
        ("condemn_before_look", "collected that a manifest names"),
        ("record_before_object", "has no object"),
    ],
)
def test_a_pull_through_a_proxy_project_keeps_what_is_there(rule: str, expected: str) -> None:
    cast = Cast(without(rule), NO_WINDOW)
    processes = [cast.push_ahead("pull", "m2", "latest"), cast.collector()]
    with pytest.raises(Violation) as found:
        explore(processes, uploaded(cast.clock), always=claims.safe_ahead)
    assert expected in found.value.problem


def test_what_a_filler_brings_of_a_manifest_that_is_deleted_does_not_stay() -> None:
    cast = Cast(without("born_candidates"))
    with pytest.raises(Violation) as found:
        explore([cast.fill("filler"), cast.delete("delete", "m1")], ahead(cast.clock), always=claims.safe_ahead)
    assert LEAK in found.value.problem
