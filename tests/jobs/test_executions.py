"""Executions as the table and Step Functions tell them: through the deployed state machine, and found dead."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import boto3
import pytest

from chalicelib.jobs import executions, kinds, steps
from chalicelib.jobs.errors import ExecutionNotFoundError, RunningError, StoppedError
from chalicelib.jobs.records import Execution, Kind, Status, Trigger
from chalicelib.jobs.store import executions as table
from chalicelib.jobs.store import tasks
from chalicelib.oci.errors import Unavailable
from chalicelib.retention.policies import RETENTION
from chalicelib.retention.records import Policy
from chalicelib.settings import settings
from chalicelib.storage import aws_json, workflows
from chalicelib.storage.aws_json import RefusedError
from tests.jobs.support import ALONE, policy_of, rule, start, wait
from tests.registry.images import push_image


@pytest.fixture
def policy(project: str) -> Policy:
    return policy_of(project, rule())


def undriven(policy: Policy, kind: Kind = ALONE) -> Execution:
    """An execution as a start that dies half-way leaves it."""
    execution = table.create(kind, policy.number, Trigger.MANUAL, "admin", {}, "")
    assert execution is not None
    return execution


def machine(execution: Execution) -> str:
    return workflows.status("retention", f"execution-{execution.number}")


def test_an_execution_runs_its_tasks_and_succeeds(policy: Policy, repository: str) -> None:
    push_image(repository, "v1")
    execution = start(policy)
    assert execution.status is Status.PENDING
    ended = wait(execution)
    assert (ended.status, ended.message, ended.operator) == (Status.SUCCESS, "", "admin")
    assert ended.started <= ended.ended
    [task] = tasks.read_all(execution.number)
    assert (task.status, task.run_count, task.extra["repository"]) == (Status.SUCCESS, 1, repository)
    assert repository in tasks.read_log(task.number)
    assert tasks.read(int(task.job_id, 16)) == task
    assert [each.number for each in executions.list_all(RETENTION, policy.number)] == [execution.number]


def test_without_tasks_it_succeeds(policy: Policy) -> None:
    assert wait(start(policy)).status is Status.SUCCESS


def test_of_starts_at_once_one_succeeds(policy: Policy) -> None:
    def attempt(_: int) -> Execution | None:
        try:
            return start(policy)
        except RunningError:
            return None

    with ThreadPoolExecutor(8) as pool:
        started = [each for each in pool.map(attempt, range(8)) if each is not None]
    assert len(started) == 1
    assert [each.number for each in table.read_all("RETENTION", policy.number)] == [started[0].number]
    assert wait(started[0]).status is Status.SUCCESS
    assert wait(start(policy)).status is Status.SUCCESS, "the next one may start"


def test_one_occasion_starts_one_execution_however_often_it_is_told(policy: Policy) -> None:
    with ThreadPoolExecutor(6) as pool:
        started = list(pool.map(lambda _: start(policy, occasion="2026-11-25T00:00"), range(6)))
    assert len({each.number for each in started}) == 1
    wait(started[0])
    assert start(policy, occasion="2026-11-25T00:00").number == started[0].number
    assert start(policy, occasion="2026-11-25T01:00").number != started[0].number


def test_an_occasion_whose_first_start_died_half_way_is_driven_by_its_repetition(policy: Policy) -> None:
    left = table.create(ALONE, policy.number, Trigger.SCHEDULE, "", extra(policy), "noon")
    assert left is not None
    assert start(policy, occasion="noon").number == left.number
    assert wait(left).status is Status.SUCCESS


def extra(policy: Policy) -> dict[str, object]:
    return {"dry_run": False}


def test_a_stop_ends_the_execution_and_its_machine(policy: Policy) -> None:
    execution = start(policy)
    executions.stop(execution)
    assert executions.get(execution.number).status is Status.STOPPED
    assert machine(execution) in ("ABORTED", "SUCCEEDED")
    executions.stop(executions.get(execution.number))
    assert wait(start(policy)).status is Status.SUCCESS, "the job is free again"


def test_steps_of_a_stopped_execution_do_nothing(policy: Policy) -> None:
    execution = undriven(policy)
    executions.stop(execution)
    for step in ("plan", "work", "finish"):
        with pytest.raises(StoppedError):
            steps.run(RETENTION, {"step": step, "execution": execution.number}, {})
    steps.run(RETENTION, {"step": "fail", "execution": execution.number, "error": {"Error": "Late"}}, {})
    assert executions.get(execution.number).status is Status.STOPPED


def test_a_final_execution_stays_as_it_is(policy: Policy) -> None:
    ended = executions.finish(undriven(policy), Status.ERROR, "broken")
    stale = replace(ended, status=Status.RUNNING)
    assert executions.finish(stale, Status.SUCCESS) == ended
    executions.stop(stale)
    with pytest.raises(StoppedError):
        executions.save_progress(ended, more=1)
    assert executions.get(ended.number) == ended


def test_a_machine_that_is_gone_is_found_out_when_somebody_looks(policy: Policy) -> None:
    execution = undriven(policy)
    assert executions.get(execution.number).status is Status.PENDING, "it may be about to start"
    executions.require_running(execution.number)
    found = executions.get(execution.number)
    assert (found.status, found.message) == (Status.ERROR, "its state machine is gone")


def test_a_job_that_a_dead_execution_holds_can_be_started(policy: Policy) -> None:
    executions.require_running(undriven(policy).number)
    assert wait(start(policy)).status is Status.SUCCESS


@pytest.fixture
def waiting(cloud: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kind]:
    """Retention with a state machine that does not end by itself while a test lasts."""
    client = boto3.client("stepfunctions")
    kind = replace(RETENTION, machine=f"waiting-{uuid.uuid4().hex[:8]}")
    wait = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
    arn = client.create_state_machine(
        name=f"{settings().state_machines}{kind.machine}".rpartition(":")[2],
        definition=json.dumps(wait),
        roleArn="arn:aws:iam::000000000000:role/waiting",
    )["stateMachineArn"]
    monkeypatch.setitem(kinds.KINDS, kind.vendor_type, kind)
    yield kind
    client.delete_state_machine(stateMachineArn=arn)


def test_a_machine_that_was_ended_behind_our_back_is_a_stop(policy: Policy, waiting: Kind) -> None:
    execution = executions.start(waiting, policy.number, Trigger.MANUAL)
    executions.require_running(execution.number)
    assert executions.get(execution.number).status is Status.RUNNING
    arn = f"{settings().state_machines}{waiting.machine}".replace(":stateMachine:", ":execution:")
    boto3.client("stepfunctions").stop_execution(executionArn=f"{arn}:execution-{execution.number}")
    executions.reconcile_all()
    assert table.read(execution.number) == executions.get(execution.number)
    assert executions.get(execution.number).status is Status.STOPPED


def test_a_plan_that_fails_makes_the_execution_an_error(policy: Policy) -> None:
    broken = executions.start(RETENTION, policy.number, Trigger.MANUAL, extra={"project_id": "nonsense", "rules": []})
    ended = wait(broken)
    assert ended.status is Status.ERROR
    assert ended.message


def test_a_job_may_run_twice_at_once_if_its_kind_says_so(policy: Policy) -> None:
    numbers = {undriven(policy, RETENTION).number, undriven(policy, RETENTION).number}
    assert set(table.unfinished("RETENTION", policy.number)) == numbers
    executions.stop_all(RETENTION, policy.number)
    assert table.unfinished("RETENTION", policy.number) == []


@pytest.mark.parametrize("fault", [RefusedError("AccessDeniedException", "StartExecution"), Unavailable("throttled")])
def test_a_start_that_step_functions_refuses_is_told_and_leaves_nothing_running(
    policy: Policy, fault: Exception
) -> None:
    with failing("StartExecution", fault), pytest.raises(type(fault)):
        start(policy)
    [left] = executions.list_all(RETENTION, policy.number)
    assert left.status is Status.ERROR
    assert left.message.startswith("it could not be started")
    assert wait(start(policy)).status is Status.SUCCESS


def test_forgetting_a_job_ends_and_drops_what_it_did(policy: Policy) -> None:
    execution = start(policy)
    executions.forget(RETENTION, policy.number)
    assert executions.list_all(RETENTION, policy.number) == []
    with pytest.raises(ExecutionNotFoundError):
        executions.get(execution.number)
    assert table.unfinished("RETENTION", policy.number) == []


def test_an_unknown_execution_or_one_of_another_kind_is_not_found(policy: Policy) -> None:
    execution = undriven(policy)
    with pytest.raises(ExecutionNotFoundError):
        executions.get(execution.number + 1_000_000)
    with pytest.raises(ExecutionNotFoundError):
        executions.get(execution.number, Kind("PURGE_AUDIT_LOG", "purge-audit-log"))


@contextmanager
def failing(operation: str, fault: Exception) -> Iterator[None]:
    """Within it Step Functions' `operation` fails with `fault`."""
    event = f"before-call.states.{operation}"

    def fail(**_: object) -> None:
        raise fault

    aws_json.events.register(event, fail)
    try:
        yield
    finally:
        aws_json.events.unregister(event, fail)
