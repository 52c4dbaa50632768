"""The collector killed, overtaken, and held back by rules."""

from __future__ import annotations

import os

import pytest

from chalicelib.gc import rounds
from chalicelib.gc.records import Tally, Task, unwatched
from chalicelib.gc.store import blobs
from chalicelib.oci import digests, manifests
from chalicelib.projects import rules as projects
from chalicelib.registry import deletion, push
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.retention import rules
from chalicelib.retention import store as retentions
from chalicelib.storage import blobstore
from tests.gc.conftest import HOUR, TIMES, Collect, push_by_digest
from tests.jobs.support import rule
from tests.registry.images import descriptor, index, push_blob, push_image
from tests.registry.test_faults import Killed, killed_at

pytestmark = pytest.mark.usefixtures("cloud")


def survives(task: Task, number: int, moment: str) -> bool:
    """Carry out a task that is killed at its write `number`. Whether it had ended before."""
    with killed_at(number, moment):
        try:
            rounds.carry_out("", task, TIMES, unwatched)
        except Killed:
            return False
    return True


@pytest.mark.parametrize("moment", ["before-call", "after-call"])
def test_a_page_that_is_killed_at_any_write_leaves_nothing_when_it_is_done_again(
    repository: str, collect: Collect, moment: str
) -> None:
    finished, number = False, 0
    while not finished:
        names = [push_blob(repository, os.urandom(50))["digest"] for _ in range(3)]
        keys = [blob.object_key for name in names if (blob := blob_table.read_record(name))]
        collect.clock.advance(3 * HOUR)
        for step in (rounds.BLOBS, rounds.CONDEMNED):
            [task] = rounds.plan(f"killed{number}{moment}", 0, [step], TIMES)
            if step == rounds.CONDEMNED:
                finished = survives(task, number, moment)
            tally = rounds.carry_out("", task, TIMES, unwatched)
            collect.clock.advance(3 * HOUR)
        assert tally.purged_blobs == 3
        assert not any(blob_table.read_record(name) for name in names)
        assert not any(blobstore.exists(key) for key in keys)
        number += 1
    assert number > 2


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before-call", "after-call"])
def test_a_page_of_manifests_that_is_killed_at_any_write_is_counted_whole_when_it_is_done_again(
    repository: str, collect: Collect, moment: str
) -> None:
    finished, number = False, 0
    while not finished:
        subject = push_by_digest(repository)
        about = push_by_digest(repository, subject=descriptor(subject, manifests.OCI_MANIFEST))
        parent = index(push_by_digest(repository))
        push.manifest(repository, digests.of(parent), parent, manifests.OCI_INDEX)
        collect.clock.advance(3 * HOUR)
        [task] = rounds.plan(f"killed-manifests{number}{moment}", 0, [rounds.MANIFESTS], TIMES)
        finished = survives(task, number, moment)
        tally = rounds.carry_out("", task, TIMES, unwatched)
        gone = (subject, about, parent)
        assert not any(manifest_table.read_record(repository, digests.of(content)) for content in gone)
        assert (tally.purged_manifests, tally.released_manifests) == (3, 1)
        assert tally.freed_space == sum(map(len, gone))
        assert {due.kind for due in rounds.following([rounds.MANIFESTS], tally, TIMES)} == {
            rounds.MANIFESTS,
            rounds.BLOBS,
        }
        collect()
        number += 3
    assert number > 12


def test_a_manifest_that_is_pushed_again_after_the_kill_is_not_counted(repository: str, collect: Collect) -> None:
    content = push_by_digest(repository)
    collect.clock.advance(3 * HOUR)
    [task] = rounds.plan("killed-and-pushed", 0, [rounds.MANIFESTS], TIMES)
    with killed_at(1, "before-call"), pytest.raises(Killed):  # of what goes has been written
        rounds.carry_out("", task, TIMES, unwatched)
    push.manifest(repository, "v1", content, manifests.OCI_MANIFEST)
    assert rounds.carry_out("", task, TIMES, unwatched) == Tally()


def test_one_blob_that_was_touched_does_not_keep_those_that_are_written_with_it(repository: str) -> None:
    found = []
    for _ in range(3):
        blob = blob_table.read_record(push_blob(repository, os.urandom(50))["digest"])
        assert blob is not None
        found.append(blob)
    blob_table.touch(found[1].digest)
    assert blobs.condemn(found) == [found[0], found[2]]
    condemned = [blob for each in found if (blob := blob_table.read_record(each.digest))]
    assert [blob.state for blob in condemned] == ["condemned", "live", "condemned"]
    blob_table.touch(found[0].digest)
    blobs.delete((blob, ()) for blob in condemned)
    assert [bool(blob_table.read_record(blob.digest)) for blob in found] == [True, False, False]


def test_what_a_retention_rule_keeps_stays_without_a_tag(repository: str, collect: Collect) -> None:
    project = projects.get(repository.partition("/")[0])
    kept, _ = push_image(repository, "v1")
    deletion.manifest(repository, "v1")
    document = rule()
    document["tag_selectors"][0]["extras"] = '{"untagged": true}'
    policy = retentions.create(project, rules.checked([document]), "")
    assert policy is not None
    assert collect().purged_manifests == 0
    assert manifest_table.read_record(repository, kept)
    retentions.delete(policy, projects.get(project.name))
    assert collect().purged_manifests == 1
