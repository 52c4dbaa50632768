"""The collector on a real registry: what it takes, what it leaves, and what it comes to."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest

from chalicelib.gc import blobs, rounds
from chalicelib.gc.records import Tally, unwatched
from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import Referenced
from chalicelib.projects import quotas, rules
from chalicelib.projects.store import usage
from chalicelib.registry import deletion, push, uploads
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store.blobs import CONDEMNED, Edge
from chalicelib.storage import blobstore
from chalicelib.storage.tables.keys import CANDIDATE_SHARDS
from tests.gc import collector
from tests.gc.conftest import HOUR, TIMES, Clock, Collect, is_whole, names_of, push_by_digest
from tests.gc.garbage import condemned, standing
from tests.registry.accounting import charged, used
from tests.registry.images import CONFIG, descriptor, image, index, push_blob, push_image
from tests.registry.test_budgets import counted
from tests.registry.test_faults import Killed, killed_at
from tests.registry.test_index_entries import index_of, push_cache

pytestmark = pytest.mark.usefixtures("cloud")


def blob_of(digest: str) -> blob_table.Blob | None:
    return blob_table.read_record(digest)


def test_a_tagged_image_stays_and_its_blobs_are_candidates_no_longer(repository: str, collect: Collect) -> None:
    digest, content = push_image(repository)
    tally = collect()
    assert (tally.purged_blobs, tally.purged_manifests, tally.cleared) == (0, 0, 3)
    assert is_whole(repository, digest, content)
    assert all(blob.candidate_since is None for name in names_of(content) if (blob := blob_of(name)))
    assert collect() == Tally()


def test_a_deleted_image_goes_in_one_run(repository: str, collect: Collect) -> None:
    digest, content = push_image(repository)
    keys = [blob.object_key for name in names_of(content) if (blob := blob_of(name))]
    deletion.manifest(repository, digest)
    tally = collect()
    assert (tally.purged_blobs, tally.purged_manifests) == (3, 0)
    assert tally.freed_space == 16 + 2 * 32
    for name, key in zip(names_of(content), keys, strict=True):
        assert blob_table.read(repository, name) == (None, None)
        assert not blobstore.exists(key)


def test_a_blob_that_was_uploaded_and_never_named_goes(repository: str, collect: Collect) -> None:
    name = push_blob(repository, os.urandom(100))["digest"]
    assert collect().purged_blobs == 1
    assert blob_of(name) is None


def test_what_is_young_stays(repository: str, clock: Clock, collect: Collect) -> None:
    digest, content = push_image(repository)
    deletion.manifest(repository, digest)
    clock.advance(1 * HOUR)
    assert collector.run(TIMES, sleep=clock.advance) == Tally()
    assert all(blob_of(name) for name in names_of(content))


def test_a_condemned_blob_waits_for_its_grace(repository: str, clock: Clock, collect: Collect) -> None:
    name = push_blob(repository, os.urandom(100))["digest"]
    clock.advance(3 * HOUR)
    waits: list[float] = []

    def end(seconds: float) -> None:
        waits.append(seconds)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        collector.run(TIMES, sleep=end)
    assert 2 * HOUR < waits[0] < 2 * HOUR + 10
    blob = blob_of(name)
    assert blob is not None
    assert blob.state == CONDEMNED
    clock.advance(1 * HOUR)
    assert collector.run(TIMES, sleep=clock.advance).purged_blobs == 1  # it waits for what the last run condemned
    assert blob_of(name) is None


def test_a_shared_layer_stays_when_one_of_its_images_goes(repository: str, collect: Collect) -> None:
    shared = push_blob(repository, os.urandom(50))
    one, two = (image(push_blob(repository, os.urandom(16), CONFIG), shared) for _ in range(2))
    for tag, content in (("one", one), ("two", two)):
        push.manifest(repository, tag, content, manifests.OCI_MANIFEST)
    deletion.manifest(repository, digests.of(one))
    assert collect().purged_blobs == 1
    assert is_whole(repository, digests.of(two), two)


def test_blobs_that_an_index_names_stay_as_long_as_it_does(repository: str, collect: Collect) -> None:
    """As in a cache that BuildKit exports."""
    digest, names = push_cache(repository)
    tally = collect()
    assert (tally.purged_blobs, tally.cleared) == (0, 3)
    assert all(blob_table.read_link(repository, name) for name in names)
    push_image(repository, "cache")
    tally = collect()
    assert (tally.purged_manifests, tally.purged_blobs) == (1, 3)
    assert manifest_table.read_record(repository, digest) is None
    assert all(blob_table.read(repository, name) == (None, None) for name in names)


def test_an_edge_of_an_index_that_was_cut_off_frees_the_blob(repository: str, collect: Collect) -> None:
    entry = push_blob(repository, os.urandom(32))
    content = index_of(entry)
    with pytest.raises(Killed), killed_at(1, "before-call"):
        push.manifest(repository, "cache", content, manifests.OCI_INDEX)
    assert len(blob_table.edges_onto(entry["digest"])) == 1
    assert collect().purged_edges == 1
    assert collect().purged_blobs == 1


def test_an_untagged_manifest_goes_with_its_blobs(repository: str, collect: Collect) -> None:
    first, content = push_image(repository, "v1")
    second, kept = push_image(repository, "v1")
    tally = collect(delete_untagged=False)
    assert tally.purged_manifests == 0
    assert is_whole(repository, first, content)
    tally = collect()
    assert (tally.purged_manifests, tally.purged_blobs) == (1, 3)
    assert tally.freed_space == len(content) + 16 + 2 * 32
    assert manifest_table.read_record(repository, first) is None
    assert is_whole(repository, second, kept)


def test_an_untagged_manifest_with_another_tag_stays(repository: str, collect: Collect) -> None:
    digest, content = push_image(repository, "v1")
    push.manifest(repository, "v2", content, manifests.OCI_MANIFEST)
    deletion.manifest(repository, "v1")
    assert collect().purged_manifests == 0
    record = manifest_table.read_record(repository, digest)
    assert record is not None
    assert record.candidate_since is None


def test_the_children_of_an_index_stay_with_it_and_go_with_it(repository: str, collect: Collect) -> None:
    children = [push_by_digest(repository) for _ in range(2)]
    content = index(*children)
    digest = push.manifest(repository, "v1", content, manifests.OCI_INDEX).digest
    assert collect().purged_manifests == 0
    assert all(is_whole(repository, digests.of(child), child) for child in children)
    deletion.manifest(repository, "v1")
    tally = collect()
    assert (tally.purged_manifests, tally.purged_blobs) == (3, 6)
    assert manifest_table.read_record(repository, digest) is None


def test_a_referrer_stays_with_its_subject_and_goes_with_it(repository: str, collect: Collect) -> None:
    subject, content = push_image(repository, "v1")
    signature = push_by_digest(repository, subject=descriptor(content, manifests.OCI_MANIFEST))
    assert collect().purged_manifests == 0
    assert is_whole(repository, digests.of(signature), signature)
    deletion.manifest(repository, "v1")
    tally = collect()
    assert (tally.purged_manifests, tally.purged_blobs) == (2, 6)
    assert manifest_table.read_record(repository, subject) is None
    assert manifest_table.read_record(repository, digests.of(signature)) is None


def test_orphan_edges_do_not_hold_a_blob(repository: str, clock: Clock, collect: Collect) -> None:
    """A push that crashed behind its edges: they hold for the window, and no longer."""
    name = push_blob(repository, os.urandom(100))["digest"]
    edge = Edge(name, repository, digests.of(b"never committed"), "generation", clock.now())
    blob_table.write_edges([edge])
    clock.advance(1 * HOUR)
    assert collector.run(TIMES, sleep=clock.advance) == Tally()
    tally = collect()
    assert (tally.purged_blobs, tally.purged_edges) == (0, 1)
    assert blob_table.edges_onto(name) == []
    assert collect().purged_blobs == 1


def test_what_a_killed_delete_left_charged_is_freed_with_its_edges(
    project: str, repository: str, collect: Collect
) -> None:
    digest, number = push_image(repository, "v1")[0], 0
    while manifest_table.read_record(repository, digest) is not None:
        with killed_at(number, "after-call"), contextlib.suppress(Killed):
            deletion.manifest(repository, digest)
        number += 1
    assert len(charged(project)) > 1
    collect()
    assert charged(project).keys() == {digest}  # nothing looks at a manifest that is gone, but the reconciliation
    collect(reconcile=True)
    assert charged(project) == {}
    assert used(project) == 0


def test_a_stop_ends_a_run_and_the_next_goes_on(repository: str, clock: Clock, collect: Collect) -> None:
    for _ in range(3):
        push_blob(repository, os.urandom(100))
    clock.advance(3 * HOUR)
    asked: list[int] = []
    tally = collector.run(TIMES, sleep=clock.advance, stopped=lambda: bool(asked.append(0)) or len(asked) > 3)
    assert tally.purged_blobs == 0
    assert tally.condemned == 3
    assert collect().purged_blobs == 3


def test_a_page_tells_how_far_it_is_and_stops_with_all_that_it_began() -> None:
    keys = condemned(250)
    told: list[tuple[float, int, int]] = []

    def watch(part: float, tally: Tally) -> bool:
        told.append((part, tally.purged_blobs, tally.freed_space))
        return len(told) < 3

    tally = blobs.collect("told", list(keys), TIMES, watch)
    assert told == [(0, 0, 0), (0.4, 100, 2000), (0.8, 200, 4000)]
    assert tally.purged_blobs == 200
    left = standing(keys)
    assert len(left) == 50
    assert {digest for digest, key in keys.items() if blobstore.exists(key)} == left
    assert blobs.collect("told", list(keys), TIMES, unwatched).purged_blobs == 250  # the page's whole, told again


def test_a_task_may_run_twice(repository: str, clock: Clock, collect: Collect) -> None:
    push_blob(repository, os.urandom(100))
    clock.advance(3 * HOUR)
    for number in range(2):
        tasks = list(rounds.plan("twice", number, [rounds.BLOBS], TIMES))
        tallies = [sum_of(rounds.carry_out("twice", task, TIMES, unwatched) for task in tasks) for _ in range(2)]
        assert tallies[0].purged_blobs == number
        clock.advance(3 * HOUR)
    assert tallies[1].purged_blobs == 1  # the same piece of work, told again: it is noted under the task, not added


def sum_of(tallies: Any) -> Tally:
    return sum(tallies, Tally())


def test_a_run_without_garbage_costs_a_query_a_shard(repository: str, collect: Collect) -> None:
    collect()
    with counted() as before:  # what other tests have left to be looked at costs calls too
        assert collect() == Tally()
    push_image(repository)
    collect()
    with counted() as calls:
        assert collect() == Tally()
    assert calls.count(("dynamodb", "Query")) == before.count(("dynamodb", "Query")) >= 2 * CANDIDATE_SHARDS
    assert len(calls) == len(before)


def signature(repository: str, subject: bytes, tag: str) -> bytes:
    """Something about `subject`, under a tag."""
    config = push_blob(repository, os.urandom(16), CONFIG)
    content = image(config, subject=descriptor(subject, manifests.OCI_MANIFEST))
    push.manifest(repository, tag, content, manifests.OCI_MANIFEST)
    return content


@pytest.mark.parametrize("depth", [1, 2])
def test_an_untagged_image_stays_as_long_as_something_about_it_is_tagged(
    repository: str, collect: Collect, depth: int
) -> None:
    subject = push_by_digest(repository)
    between = [signature(repository, subject, f"sha256-{digests.of(subject)[7:]}.sig") for _ in range(depth - 1)]
    about = signature(repository, (between or [subject])[-1], "mine")
    assert collector.foretell(TIMES, delete_untagged=True).tally.purged_manifests == 0
    assert collect().purged_manifests == 0
    assert collector.foretell(TIMES, delete_untagged=True).tally.purged_manifests == 0
    assert is_whole(repository, digests.of(subject), subject)
    assert is_whole(repository, digests.of(about), about)
    deletion.manifest(repository, "mine")
    assert collect().purged_manifests == 1 + depth


def test_an_untagged_image_goes_with_its_signature_by_fallback_tags(repository: str, collect: Collect) -> None:
    subject = push_by_digest(repository)
    hexadecimal = digests.of(subject)[7:]
    for suffix in ("", ".sig", ".att", ".sbom"):
        signature(repository, subject, f"sha256-{hexadecimal}{suffix}")
    assert collect().purged_manifests == 5


def test_an_untagged_image_goes_with_the_index_of_its_referrers_tag(repository: str, collect: Collect) -> None:
    subject = push_by_digest(repository)
    tag = f"sha256-{digests.of(subject)[7:]}"
    listing = index(signature(repository, subject, f"{tag}.sig"))
    push.manifest(repository, tag, listing, manifests.OCI_INDEX)
    assert collect().purged_manifests == 3


def test_a_tag_that_comes_after_the_look_keeps_an_accessory_and_its_subject(repository: str) -> None:
    subject = push_by_digest(repository)
    about = signature(repository, subject, "mine")
    record = manifest_table.read_record(repository, digests.of(subject))
    assert record is not None
    with pytest.raises(Referenced, match="the tag mine"):
        deletion.manifest_as_seen(repository, record.digest, record.generation, (), spares_tagged=True)
    assert is_whole(repository, digests.of(about), about)
    kept = manifest_table.read_record(repository, record.digest)
    assert kept is not None
    assert kept.state == "live"
    deletion.manifest(repository, record.digest)
    assert manifest_table.read_tag(repository, "mine") is None


def test_what_is_collected_counts_as_unreferenced_no_longer(project: str, repository: str, collect: Collect) -> None:
    number = rules.get(project).project_id
    quotas.set_limit(number, 10_000)
    content = os.urandom(1000)
    uploads.store(repository, digests.of(content), content)
    assert sum(total.unreferenced for total in usage.read_totals([number])[number]) == 1000
    collect()
    assert blob_of(digests.of(content)) is None
    assert sum(total.unreferenced for total in usage.read_totals([number])[number]) == 0
