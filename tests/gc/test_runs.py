"""Runs as jobs: driven by the state machine of the deployed stack, told of, stopped and gone on with."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.gc import rounds, runs, steps, work
from chalicelib.gc.errors import ParameterInvalidError, TimesTooShortError
from chalicelib.gc.records import Parameters, Tally, Times, unwatched
from chalicelib.gc.runs import GARBAGE_COLLECTION
from chalicelib.jobs import executions, monitor
from chalicelib.jobs import steps as job_steps
from chalicelib.jobs.records import SYSTEM, Execution, Status, Trigger
from chalicelib.jobs.store import executions as execution_table
from chalicelib.jobs.store import tasks
from chalicelib.registry import deletion
from chalicelib.registry.store import blobs as blob_table
from chalicelib.settings import settings
from tests.gc.conftest import HOUR, TIMES, Clock, names_of
from tests.jobs.support import wait, wait_for
from tests.registry.images import push_blob, push_image

pytestmark = pytest.mark.usefixtures("cloud")


def start(**parameters: object) -> Execution:
    return runs.start(runs.parameters(parameters), Trigger.MANUAL, operator="admin")


def condemn_everything(clock: Clock) -> None:
    """Do the first round of a run: what is garbage is condemned."""
    clock.advance(2.5 * HOUR)
    for task in rounds.plan("condemned", 0, [rounds.BLOBS], TIMES):
        rounds.carry_out("condemned", task, TIMES, unwatched)
    work.drop("condemned")


def test_a_run_deletes_what_was_condemned(repository: str, past: Clock) -> None:
    digest, content = push_image(repository)
    deletion.manifest(repository, digest)
    condemn_everything(past)
    ended = wait(start())
    assert (ended.status, ended.message) == (Status.SUCCESS, "")
    assert all(blob_table.read_record(name) is None for name in names_of(content))
    told = runs.told(ended)
    assert told["purged_blobs"] >= 3
    assert told["freed_space"] >= 16 + 2 * 32
    assert told["percent"] == 100
    assert "purged_blobs: " in runs.log(ended)
    [entry] = audited(ended)
    assert entry.is_successful
    assert f"Success, purged_blobs: {told['purged_blobs']}, " in entry.description


def audited(ended: Execution) -> list[Event]:
    """The entries of a run in the audit log."""
    entries = audit.entries(audit.system_partitions(), audit.Period(ended.ended, ended.ended), descending=True)
    return [each for each in entries if each.type == "execute_gc" and each.resource == str(ended.number)]


def test_a_run_that_is_stopped_or_dies_is_in_the_audit_log_once(repository: str) -> None:
    for status in (Status.STOPPED, Status.ERROR):
        begun = start()
        for _ in range(2):
            ended = executions.finish(executions.get(begun.number), status, "for a reason")
        [entry] = audited(ended)
        assert not entry.is_successful
        assert entry.description.startswith(f"garbage collection {ended.number}: {status.value}, ")
        assert entry.actor.name == ended.operator


def fail(execution: Execution) -> None:
    job_steps.run(
        GARBAGE_COLLECTION, {"step": "fail", "execution": execution.number, "error": {"Error": "States.Timeout"}}, {}
    )


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (fail, Status.ERROR),
        (executions.reconcile, Status.ERROR),
        (lambda execution: monitor.stop_job(monitor.job_id(execution)), Status.STOPPED),
        (executions.stop, Status.STOPPED),
    ],
    ids=["failed", "its machine is gone", "stopped as a job", "stopped"],
)
def test_a_run_is_told_of_with_what_its_tasks_came_to_however_it_ends(
    cloud: dict[str, str], end: Callable[[Execution], object], status: Status
) -> None:
    begun = without_machine([rounds.BLOBS, rounds.MANIFESTS])
    blobs, manifests = tasks.read_all(begun.number)
    tasks.finish(blobs, Status.SUCCESS, extra={**blobs.extra, "tally": {"purged_blobs": 7, "freed_space": 70}})
    tasks.save_progress(manifests, {**manifests.extra, "tally": {"purged_manifests": 2, "freed_space": 5}})
    end(begun)
    ended = executions.get(begun.number)
    assert ended.status is status
    assert ended.extra["percent"] < 100
    [entry] = audited(ended)
    assert entry.description.endswith(f"{status.value}, purged_blobs: 7, purged_manifests: 2, freed_space: 75")


def without_machine(kinds: list[str]) -> Execution:
    """A run that its state machine does not drive, with tasks."""
    begun = execution_table.create(GARBAGE_COLLECTION, SYSTEM, Trigger.MANUAL, "admin", runs.to_json(Parameters()), "")
    assert begun is not None
    execution_table.begin(begun)
    tasks.create(begun.number, 1, ({"kind": kind, "name": ""} for kind in kinds))
    return executions.require_running(begun.number)


def test_a_page_that_fails_may_have_deleted_and_condemned_and_is_followed(cloud: dict[str, str]) -> None:
    begun = without_machine([rounds.MANIFESTS, rounds.BLOBS])
    try:
        for task in tasks.read_all(begun.number):
            tasks.finish(task, Status.ERROR, "it failed")
        state = {"pending": [], "kinds": [rounds.MANIFESTS, rounds.BLOBS], "start": 0, "next": 3}
        settled = steps.run({"step": "settle", "execution": begun.number, "plan": state})
        assert {kind for kind, _ in settled["pending"]} == {rounds.BLOBS, rounds.CONDEMNED}
    finally:
        executions.stop(begun)


def test_what_a_task_has_told_stays_when_it_fails(cloud: dict[str, str]) -> None:
    begun = without_machine([rounds.BLOBS])
    [task] = tasks.read_all(begun.number)
    tasks.save_progress(task, {**task.extra, "tally": {"purged_blobs": 3}})
    tasks.finish(task, Status.ERROR, "it failed")
    executions.stop(begun)
    assert executions.get(begun.number).extra["purged_blobs"] == 3


def test_a_dry_run_tells_what_a_run_would_do_and_does_nothing(repository: str, past: Clock) -> None:
    digest, content = push_image(repository, "v1")
    push_image(repository, "v1")
    ended = wait(start(dry_run=True, delete_untagged=True, workers=5))
    told = runs.told(ended)
    assert ended.status is Status.SUCCESS
    assert told["purged_manifests"] >= 1
    assert told["freed_space"] >= len(content) + 16 + 2 * 32
    assert told["expected_seconds"] > told["expected_wait_seconds"] >= 2 * HOUR
    assert all(blob_table.read_record(name) for name in names_of(content))
    assert digest


def test_a_reconciliation_looks_through_everything_and_is_noted(repository: str, past: Clock) -> None:
    push_image(repository)
    ended = wait(start(reconcile=True, workers=5))
    assert ended.status is Status.SUCCESS, ended.message
    kinds = {task.extra["kind"] for task in tasks.read_all(ended.number)}
    assert {rounds.TABLES, rounds.OBJECTS} <= kinds
    assert work.reconciled() == ended.started


@pytest.mark.parametrize(
    ("ended", "is_noted"),
    [
        ([Status.SUCCESS, Status.SUCCESS], True),
        ([Status.SUCCESS, Status.ERROR], False),
        ([Status.STOPPED, Status.SUCCESS], False),
        ([], False),
    ],
)
def test_a_reconciliation_is_noted_if_all_of_the_bucket_was_looked_through(
    cloud: dict[str, str], ended: list[Status], is_noted: bool
) -> None:
    execution = without_machine([rounds.TABLES, *(rounds.OBJECTS for _ in ended)])
    for task, status in zip(tasks.read_all(execution.number), [Status.SUCCESS, *ended], strict=True):
        tasks.finish(task, status)
    work.note_reconciled(0)
    steps.run({"step": "finish", "execution": execution.number})
    assert work.reconciled() == (execution.started if is_noted else 0)


def test_a_run_waits_for_the_grace_and_is_stopped_within_seconds(repository: str, past: Clock) -> None:
    name = push_blob(repository, os.urandom(20))["digest"]
    execution = start(workers=2)
    wait_for(execution, Status.RUNNING)
    while not executions.get(execution.number).extra.get("pending"):
        pass
    running = executions.get(execution.number)
    assert running.status is Status.RUNNING
    told = runs.told(running)
    assert 0 < told["percent"] < 100
    executions.stop(running)
    ended = wait(execution, 30)  # of hours
    assert ended.status is Status.STOPPED
    [entry] = audited(ended)
    assert f"Stopped, purged_blobs: {runs.told(ended)['purged_blobs']}, " in entry.description
    executions.stop(ended)
    assert audited(ended) == [entry]
    blob = blob_table.read_record(name)
    assert blob is not None
    assert blob.state == "condemned"


@pytest.mark.parametrize(
    "given",
    [
        *({"workers": workers} for workers in (0, 6, True, "2", 1.5)),
        *({"time_window": window} for window in (-1, "2", True, 1e9)),
        {"dry_run": "true"},
        {"delete_untagged": 1},
    ],
)
def test_parameters_that_make_no_sense_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ParameterInvalidError):
        runs.parameters(given)


def test_a_window_is_raised_and_a_grace_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib.gc import times

    assert runs.parameters({"time_window": 0}) == Parameters(time_window=0)
    assert times.of(0).window == 1000 * (settings().candidate_renew_seconds + HOUR)
    assert times.of(3.5) == Times(window=int(3.5 * HOUR * 1000), grace=2 * HOUR * 1000)
    monkeypatch.setattr(times, "settings", lambda: _with(gc_grace_seconds=settings().url_seconds))
    with pytest.raises(TimesTooShortError, match="must exceed 1205"):
        times.of(None)
    monkeypatch.setattr(times, "settings", lambda: _with(gc_grace_seconds=1, gc_unsafe_times=True))
    assert times.of(0) == Times(window=0, grace=1000)


def _with(**changes: object) -> object:
    return type(settings())(**{**vars(settings()), **changes})


def test_tallies_add_up() -> None:
    tally = Tally(purged_blobs=2, freed_space=10) + Tally(freed_space=5, cleared=1)
    assert Tally.of_json(tally.to_json()) == tally == Tally(purged_blobs=2, freed_space=15, cleared=1)
