"""Pools, workers, queues and jobs through Harbor's API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib.jobs import executions, monitor
from chalicelib.jobs.records import Execution, Status, Trigger
from chalicelib.jobs.store import executions as table
from chalicelib.jobs.store import schedules, tasks
from chalicelib.retention.policies import RETENTION
from tests.api.people import as_user, content, new_user
from tests.api.support import call

pytestmark = pytest.mark.usefixtures("administrator")


@pytest.fixture
def waiting(project: str) -> Iterator[Execution]:
    """An execution that is pending, as one that is about to be driven."""
    execution = table.create(RETENTION, 0, Trigger.MANUAL, "admin", {"dry_run": True}, "")
    assert execution is not None
    yield execution
    executions.stop(execution)


def test_there_is_a_pool_for_each_kind_of_job(waiting: Execution) -> None:
    pools = content(call("GET", "/jobservice/pools"))
    assert "retention" in [each["worker_pool_id"] for each in pools]
    for pool in ("all", "retention"):
        workers = content(call("GET", f"/jobservice/pools/{pool}/workers"))
        [worker] = [each for each in workers if each["id"] == str(waiting.number)]
        assert (worker["job_name"], worker["pool_id"]) == ("RETENTION", "retention")
    assert call("GET", "/jobservice/pools/nonsense/workers").status == 404


def test_a_job_is_stopped_by_its_id(waiting: Execution) -> None:
    job = monitor.job_id(waiting)
    assert call("PUT", f"/jobservice/jobs/{job}").status == 200
    assert executions.get(waiting.number).status is Status.STOPPED
    assert call("PUT", f"/jobservice/jobs/{job}").status == 200
    assert call("PUT", f"/jobservice/jobs/{'f' * 24}").status == 200, "as in Harbor: it may have ended"
    assert call("PUT", "/jobservice/jobs/nonsense").status == 404


def test_one_task_is_stopped_and_its_log_read(waiting: Execution) -> None:
    tasks.create(waiting.number, 1, [{"repository": "a/b"}, {"repository": "a/c"}])
    first, second = tasks.read_all(waiting.number)
    assert call("PUT", f"/jobservice/jobs/{first.job_id}").status == 200
    assert [each.status for each in tasks.read_all(waiting.number)] == [Status.STOPPED, Status.PENDING]
    tasks.write_log(second, "first part\n", 1)
    tasks.write_log(second, "second part\n", 2)
    tasks.write_log(second, "second part again\n", 2)
    for job in (second.job_id, monitor.job_id(waiting)):
        response = call("GET", f"/jobservice/jobs/{job}/log")
        assert (response.status, response.body) == (200, b"first part\nsecond part again\n")
    assert call("GET", f"/jobservice/jobs/{'e' * 24}/log").status == 404
    assert call("GET", "/jobservice/jobs/nonsense/log").status == 404


def test_all_that_runs_is_stopped(waiting: Execution) -> None:
    assert call("PUT", "/jobservice/jobs/all").status == 200
    assert table.unfinished() == []


def test_queues_tell_what_waits_and_stop_it(waiting: Execution) -> None:
    [queue] = [each for each in content(call("GET", "/jobservice/queues")) if each["job_type"] == "RETENTION"]
    assert queue["count"] >= 1
    assert queue["paused"] is False
    assert call("PUT", "/jobservice/queues/RETENTION", {"action": "stop"}).status == 200
    assert executions.get(waiting.number).status is Status.STOPPED


def test_a_kind_or_all_kinds_are_paused_and_resumed() -> None:
    try:
        assert call("PUT", "/jobservice/queues/retention", {"action": "pause"}).status == 200
        assert schedules.paused() == {"RETENTION"}
        assert call("PUT", "/jobservice/queues/all", {"action": "PAUSE"}).status == 200
        assert {each["job_type"] for each in content(call("GET", "/jobservice/queues")) if each["paused"]} == (
            schedules.paused()
        )
    finally:
        assert call("PUT", "/jobservice/queues/all", {"action": "resume"}).status == 200
    assert schedules.paused() == frozenset()
    assert call("PUT", "/jobservice/queues/all", {"action": "explode"}).status == 400
    assert call("PUT", "/jobservice/queues/all", {}).status == 400
    assert call("PUT", "/jobservice/queues/NONSENSE", {"action": "pause"}).status == 404


def test_only_the_administrator_and_robots_that_were_given_it_may(waiting: Execution) -> None:
    name, _ = new_user()
    requests = [
        ("GET", "/jobservice/pools", None),
        ("GET", "/jobservice/pools/all/workers", None),
        ("GET", "/jobservice/queues", None),
        ("PUT", "/jobservice/queues/all", {"action": "pause"}),
        ("PUT", "/jobservice/jobs/all", None),
        ("GET", f"/jobservice/jobs/{monitor.job_id(waiting)}/log", None),
    ]
    for method, url, body in requests:
        assert as_user(name, method, url, body).status == 403
        assert call(method, url, body, admin=False).status == 401
    assert executions.get(waiting.number).status is Status.PENDING
