"""A dry run: it tells what the run then does, and changes nothing."""

from __future__ import annotations

import os

import pytest

from chalicelib.gc import rounds, work
from chalicelib.gc.records import Tally, Times, unwatched
from chalicelib.oci import manifests
from chalicelib.registry import deletion, push
from tests.gc import collector
from tests.gc.conftest import HOUR, TIMES, Clock, Collect, push_by_digest
from tests.registry.images import descriptor, index, push_blob, push_image
from tests.registry.test_budgets import counted
from tests.registry.test_index_entries import push_cache

pytestmark = pytest.mark.usefixtures("cloud")

READS = {"Query", "BatchGetItem", "GetItem", "GetObject"}
NOTES = {("s3", "PutObject"), ("s3", "ListObjectsV2"), ("s3", "DeleteObjects")}
"""What a dry run writes down of its own work, and drops."""


def run(clock: Clock, times: Times = TIMES, *, delete_untagged: bool) -> tuple[Tally, float]:
    """What a whole run comes to, and the seconds that it waits."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    return collector.run(times, delete_untagged=delete_untagged, sleep=sleep), sum(waits)


@pytest.mark.parametrize("untagged", [True, False])
def test_the_run_does_what_was_foretold(
    repository: str, other_repository: str, collect: Collect, untagged: bool
) -> None:
    clock = collect.clock
    subject, content = push_image(repository, "moved")
    push_image(repository, "moved")
    push_by_digest(repository, subject=descriptor(content, manifests.OCI_MANIFEST))
    children = [push_by_digest(repository) for _ in range(2)]
    push.manifest(repository, "index", index(*children), manifests.OCI_INDEX)
    push.manifest(repository, "child", children[0], manifests.OCI_MANIFEST)
    deletion.manifest(repository, "index")
    push_cache(repository)
    push_image(repository, "cache")
    digest, _ = push_image(other_repository)
    deletion.manifest(other_repository, digest)
    push_blob(other_repository, b"never named, and of this size")
    clock.advance(3 * HOUR)
    with counted() as calls:
        foretold = collector.foretell(TIMES, delete_untagged=untagged)
    assert {operation for _, operation in set(calls) - NOTES} <= READS
    done, waited = run(clock, delete_untagged=untagged)
    names = ("purged_blobs", "purged_manifests", "freed_space")
    assert [getattr(foretold.tally, name) for name in names] == [getattr(done, name) for name in names]
    assert done.purged_manifests == (5 if untagged else 0)
    assert foretold.waits == pytest.approx(waited, abs=20)
    assert subject != digest


def test_nothing_is_foretold_of_a_registry_without_garbage(repository: str, collect: Collect) -> None:
    push_image(repository)
    collect()
    foretold = collector.foretell(TIMES, delete_untagged=True)
    assert foretold.tally.to_json() == {}
    assert foretold.waits == 0


def test_after_a_run_that_was_stopped_in_its_grace_the_rest_of_that_is_foretold_and_waited_for(
    repository: str, collect: Collect
) -> None:
    clock = collect.clock
    push_blob(repository, os.urandom(1000))
    clock.advance(3 * HOUR)
    for task in rounds.plan("stopped", 0, [rounds.BLOBS], TIMES):
        rounds.carry_out("stopped", task, TIMES, unwatched)
    work.drop("stopped")
    clock.advance(HOUR / 4)
    foretold = collector.foretell(TIMES, delete_untagged=False)
    done, waited = run(clock, delete_untagged=False)
    assert foretold.tally.freed_space == done.freed_space == 1000
    assert foretold.waits == pytest.approx(TIMES.grace / 1000 - HOUR / 4, abs=20)
    assert waited == pytest.approx(foretold.waits, abs=20)


def test_young_garbage_that_a_run_comes_back_for_is_foretold(repository: str, collect: Collect) -> None:
    clock = collect.clock
    push_image(repository, "moved")
    push_image(repository, "moved")
    clock.advance(3 * HOUR)
    push_blob(repository, os.urandom(5000))
    clock.advance(HOUR)
    foretold = collector.foretell(TIMES, delete_untagged=True)
    done, _ = run(clock, delete_untagged=True)
    assert foretold.tally.freed_space == done.freed_space > 5000


def test_a_long_window_is_not_waited_for_and_the_next_run_goes_on(repository: str, collect: Collect) -> None:
    """Meanwhile no other run could start, and a state machine does not live for ever."""
    clock, times = collect.clock, Times(window=10 * 24 * HOUR * 1000, grace=TIMES.grace)
    children = [push_by_digest(repository)]
    push.manifest(repository, "moved", index(*children), manifests.OCI_INDEX)
    push_image(repository, "moved")
    purged = []
    for _ in range(3):
        clock.advance(11 * 24 * HOUR)
        foretold = collector.foretell(times, delete_untagged=True)
        done, waited = run(clock, times, delete_untagged=True)
        names = ("purged_blobs", "purged_manifests", "freed_space")
        assert [getattr(foretold.tally, name) for name in names] == [getattr(done, name) for name in names]
        assert waited == pytest.approx(foretold.waits, abs=20)
        assert waited < TIMES.grace / 1000 + 20
        purged.append((done.purged_manifests, done.purged_blobs > 0))
    assert purged == [(1, False), (1, False), (0, True)]
