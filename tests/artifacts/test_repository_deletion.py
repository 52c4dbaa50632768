"""Deleting a repository: what goes, what is pushed meanwhile, and the job that goes on with it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from chalicelib.artifacts import repositories, repository_deletion
from chalicelib.artifacts import repository_deletion_steps as steps
from chalicelib.artifacts.repository_deletion import REPOSITORY_DELETION, Deletion
from chalicelib.events.records import JOBS
from chalicelib.jobs import executions
from chalicelib.jobs.errors import StoppedError
from chalicelib.jobs.records import Execution, Status, Trigger
from chalicelib.jobs.steps import run
from chalicelib.jobs.store import executions as table
from chalicelib.jobs.store import tasks
from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import BlobUnknown, Immutable
from chalicelib.oci.names import number_of
from chalicelib.projects import immutability, rules
from chalicelib.projects.errors import NotEmptyError, RepositoryNotFoundError
from chalicelib.registry import blobs, pull, push
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.storage.conditions import now
from tests.registry.accessories import attach
from tests.registry.images import CONFIG, image, index, push_blob, push_image

pytestmark = pytest.mark.usefixtures("cloud")


def goes_on() -> bool:
    return True


def times(number: int) -> Any:
    """Something that goes on for so many manifests."""
    left = iter(range(number))
    return lambda: next(left, None) is not None


def fill(repository: str) -> list[str]:
    """Images, an index of them, an untagged one of that, and signatures; returns their digests."""
    (first, one), (second, two) = push_image(repository, "v1"), push_image(repository, "v2")
    middle = index(one, two)
    push.manifest(repository, digests.of(middle), middle, manifests.OCI_INDEX)
    outer = push.manifest(repository, "multi", index(middle), manifests.OCI_INDEX).digest
    return [first, second, digests.of(middle), outer, attach(repository, first), attach(repository, outer)]


def undriven(repository: str, until: int) -> Execution:
    told = {"repository": repository, "until": until, "actor": vars(JOBS)}
    execution = table.create(REPOSITORY_DELETION, number_of(repository), Trigger.MANUAL, "", told, "")
    assert execution is not None
    return execution


def keep(project: str, pattern: str) -> None:
    selector = {"kind": "doublestar", "decoration": "matches", "pattern": pattern}
    scope = {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]}
    immutability.create(rules.get(project), {"tag_selectors": [selector], "scope_selectors": scope})


def test_all_that_was_there_goes(repository: str) -> None:
    held = fill(repository)
    content = pull.manifest(repository, held[0])
    repository_deletion.delete(repository)
    assert manifest_table.read_records(repository, held) == {}
    for blob in manifests.stored(content.content, content.media_type).references:
        with pytest.raises(BlobUnknown):
            blobs.find(repository, blob)
    with pytest.raises(RepositoryNotFoundError):
        repository_deletion.delete(repository)


@pytest.mark.parametrize("after", range(7))
def test_wherever_it_is_broken_off_the_next_one_goes_on(repository: str, after: int) -> None:
    held = fill(repository)
    whole = Deletion(repository, now(), JOBS)
    repository_deletion.carry_out(whole, times(after))
    for digest in manifest_table.read_records(repository, held):
        pull.manifest(repository, digest)
    repository_deletion.delete(repository)
    assert manifest_table.read_records(repository, held) == {}


def test_what_is_pushed_meanwhile_stays_and_keeps_its_blobs(repository: str) -> None:
    shared, own = push_blob(repository, os.urandom(16), CONFIG), push_blob(repository, os.urandom(16))
    old = push.manifest(repository, "old", image(shared, own), manifests.OCI_MANIFEST).digest
    again = image(shared, push_blob(repository, os.urandom(16)))
    push.manifest(repository, "again", again, manifests.OCI_MANIFEST)
    part = image(shared, push_blob(repository, os.urandom(16)))
    push.manifest(repository, "part", part, manifests.OCI_MANIFEST)
    whole = Deletion(repository, now() - 1, JOBS)
    for record in manifest_table.read_records(repository, [old, digests.of(again), digests.of(part)]).values():
        whole = Deletion(repository, max(whole.until, record.committed), JOBS)
    while now() <= whole.until:
        pass
    new = image(shared, push_blob(repository, os.urandom(16)))
    push.manifest(repository, "new", new, manifests.OCI_MANIFEST)
    push.manifest(repository, digests.of(again), again, manifests.OCI_MANIFEST)
    push.manifest(repository, "multi", index(part), manifests.OCI_INDEX)
    assert repository_deletion.carry_out(whole, goes_on)
    assert not repository_deletion.end(whole)
    assert manifest_table.read_record(repository, old) is None
    for content in (new, again, part):
        found = pull.manifest(repository, digests.of(content))
        for blob in manifests.stored(found.content, found.media_type).references:
            blobs.find(repository, blob)
    blobs.find(repository, own["digest"])  # a push in progress may have been told that it is there


def test_a_push_beside_it_is_told_of_by_a_request(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    push_image(repository, "v1")
    carry_out = repository_deletion.carry_out

    def beside_a_push(whole: Deletion, _goes_on: Any) -> bool:
        while now() <= whole.until:
            pass
        push_image(repository, "new")
        return carry_out(whole, goes_on)

    monkeypatch.setattr(repository_deletion, "carry_out", beside_a_push)
    with pytest.raises(NotEmptyError):
        repository_deletion.delete(repository)
    assert repositories.get(repository).manifests == 1


def test_a_request_beside_the_job_moves_its_moment_on(repository: str) -> None:
    fill(repository)
    execution = undriven(repository, 1)
    before = now()
    repository_deletion.delete(repository)
    repository_deletion.delete(repository)
    [found] = table.unfinished(REPOSITORY_DELETION.vendor_type, number_of(repository))
    current = table.read(found)
    assert current is not None
    assert found == execution.number
    assert current.extra["until"] >= before
    assert repositories.get(repository).manifests == 6


def slices(execution: Execution) -> int:
    """Do the job as its state machine does; how many slices it took."""
    progress: dict[str, Any] = {"slice": 0, "done": False}
    count = 0
    while not progress["done"]:
        progress = steps.run({"step": "delete", "execution": execution.number, "progress": progress})
        count += 1
    run(REPOSITORY_DELETION, {"step": "finish", "execution": execution.number}, {})
    return count


def test_the_job_goes_on_in_slices_and_with_what_was_asked_for_since(
    repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = fill(repository)
    execution = undriven(repository, now())
    carry_out = repository_deletion.carry_out
    parts = iter([1, 2, 100])

    def a_part(whole: Deletion, goes_on: Any) -> bool:
        part = next(parts, None)
        if part == 100:
            executions.save_progress(execution, until=whole.until + 1)
        return carry_out(whole, times(part) if part else goes_on)

    monkeypatch.setattr(repository_deletion, "carry_out", a_part)
    assert slices(execution) == 4
    assert manifest_table.read_records(repository, held) == {}
    [task] = tasks.read_all(execution.number)
    assert task.status is Status.SUCCESS
    assert "it is gone" in tasks.read_log(task.number)
    assert executions.get(execution.number).status is Status.SUCCESS


def test_a_job_that_is_stopped_leaves_what_it_has_not_come_to(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(repository)
    execution = undriven(repository, now())
    monkeypatch.setattr(steps, "_LOOK_SECONDS", -1.0)
    carry_out = repository_deletion.carry_out

    def stopped(whole: Deletion, goes_on: Any) -> bool:
        executions.stop(execution)
        return carry_out(whole, goes_on)

    monkeypatch.setattr(repository_deletion, "carry_out", stopped)
    with pytest.raises(StoppedError):
        slices(execution)
    assert repositories.get(repository).manifests == 6
    monkeypatch.undo()
    repository_deletion.delete(repository)


def test_a_tag_that_must_stay_is_looked_for_before_anything_goes(
    project: str, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(repository)
    keep(project, "v2")
    with pytest.raises(Immutable):
        repository_deletion.delete(repository)
    execution = undriven(repository, now())
    slices(execution)
    [task] = tasks.read_all(execution.number)
    assert (task.status, "v2" in task.message) == (Status.ERROR, True)
    assert repositories.get(repository).manifests == 6
    monkeypatch.setattr(repository_deletion, "_TAGS", 1)
    with pytest.raises(Immutable):
        repository_deletion.require_deletable(repository, goes_on)
    assert not repository_deletion.require_deletable(repository, times(1))
