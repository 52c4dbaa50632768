"""Schedules of jobs: the record, what EventBridge is told, and what a firing starts through the deployed function."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from chalicelib.jobs import executions, schedules
from chalicelib.jobs.errors import ScheduleInvalidError
from chalicelib.jobs.records import Execution, Status, Trigger
from chalicelib.jobs.store import schedules as table
from chalicelib.oci.errors import Unavailable
from chalicelib.retention.policies import RETENTION
from chalicelib.retention.records import Policy
from chalicelib.settings import settings
from chalicelib.storage import scheduler
from chalicelib.storage.conditions import now
from chalicelib.storage.tables.jobs import ScheduleItem
from tests.jobs.support import ALONE, policy_of, rule, wait

EVERY_MINUTE = "0 * * * * *"
_DAY_MS = 86_400_000
_ATTEMPTS = 5


@pytest.fixture
def policy(project: str) -> Iterator[Policy]:
    policy = policy_of(project, rule())
    yield policy
    schedules.remove(RETENTION, policy.number)


def put(policy: Policy, text: str = EVERY_MINUTE) -> None:
    schedules.put(RETENTION, policy.number, "Custom", text, {"dry_run": True})


def set_long_ago(policy: Policy) -> None:
    """As if the schedule had been set yesterday, so that its last time is due."""
    item = ScheduleItem("schedule", f"RETENTION|{policy.number:010d}")
    item.update(actions=[ScheduleItem.updated.set(now() - _DAY_MS)])


def of_eventbridge(policy: Policy) -> dict[str, Any] | None:
    client = boto3.client("scheduler")
    try:
        found: dict[str, Any] = client.get_schedule(
            Name=f"RETENTION-{policy.number}", GroupName=settings().schedule_group
        )
    except client.exceptions.ResourceNotFoundException:
        return None
    return found


def fire(policy: Policy) -> int | None:
    """Do what EventBridge does: invoke the target with the input that the schedule has."""
    schedule = of_eventbridge(policy)
    assert schedule is not None
    return invoke(schedule["Target"]["Arn"], schedule["Target"]["Input"])


def invoke(function: str, event: str) -> int | None:
    """Invoke it again when a store did not answer it, as EventBridge would, if not so soon."""
    for _ in range(_ATTEMPTS):
        answer = boto3.client("lambda").invoke(FunctionName=function, Payload=event)
        content = json.load(answer["Payload"])
        if "FunctionError" not in answer:
            return None if content is None else int(content)
        if content["errorType"] != Unavailable.__name__:
            break
    raise AssertionError(content)


def started(policy: Policy) -> list[Execution]:
    return executions.list_all(RETENTION, policy.number)


def test_a_schedule_is_kept_and_eventbridge_has_it(policy: Policy) -> None:
    put(policy, "0 30 2 * * 1")
    kept = schedules.find(RETENTION, policy.number)
    assert kept is not None
    assert (kept.kind, kept.cron, kept.parameters) == ("Custom", "0 30 2 * * 1", {"dry_run": True})
    found = of_eventbridge(policy)
    assert found is not None
    assert (found["ScheduleExpression"], found["State"]) == ("cron(30 2 ? * 2 *)", "ENABLED")
    assert found["Target"]["Arn"].endswith(":function:berth-run-scheduled-job")
    assert found["Target"]["RoleArn"] == settings().schedule_role
    put(policy, EVERY_MINUTE)
    changed = schedules.find(RETENTION, policy.number)
    assert changed is not None
    assert (changed.number, changed.created, changed.cron) == (kept.number, kept.created, EVERY_MINUTE)
    schedules.remove(RETENTION, policy.number)
    schedules.remove(RETENTION, policy.number)
    assert (schedules.find(RETENTION, policy.number), of_eventbridge(policy)) == (None, None)


def test_a_firing_starts_the_job_with_its_parameters(policy: Policy) -> None:
    put(policy)
    set_long_ago(policy)
    number = fire(policy)
    assert number is not None
    ended = wait(executions.get(number))
    assert (ended.status, ended.trigger, ended.vendor_id) == (Status.SUCCESS, Trigger.SCHEDULE, policy.number)
    assert ended.extra["dry_run"] is True


def test_however_often_one_time_fires_it_starts_one_execution(policy: Policy) -> None:
    put(policy, "0 0 0 * * *")
    set_long_ago(policy)
    with ThreadPoolExecutor(4) as pool:
        numbers = set(pool.map(lambda _: fire(policy), range(4)))
    assert len(numbers) == 1
    [execution] = started(policy)
    wait(execution)
    assert fire(policy) == execution.number
    assert len(started(policy)) == 1


def test_what_was_due_before_the_schedule_was_set_does_not_start(policy: Policy) -> None:
    put(policy, "0 0 0 1 1 *")
    assert fire(policy) is None
    assert started(policy) == []


@pytest.mark.parametrize("what", ["RETENTION", "SCHEDULER"])
def test_while_it_is_paused_nothing_starts(policy: Policy, what: str) -> None:
    put(policy)
    set_long_ago(policy)
    table.pause(what)
    try:
        assert fire(policy) is None
        assert started(policy) == []
    finally:
        table.resume(what)
    assert fire(policy) is not None


def test_of_an_exclusive_job_none_starts_while_the_execution_before_runs(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(policy)
    set_long_ago(policy)
    monkeypatch.setitem(schedules.KINDS, "RETENTION", ALONE)
    before = executions.start(ALONE, policy.number, Trigger.MANUAL, extra={"dry_run": True})
    assert schedules.run({"vendor_type": "RETENTION", "vendor_id": policy.number}) is None
    assert [each.number for each in started(policy)] == [before.number]


def test_a_schedule_that_is_left_over_starts_nothing_and_goes(policy: Policy) -> None:
    put(policy)
    table.delete("RETENTION", policy.number)
    assert fire(policy) is None
    assert of_eventbridge(policy) is None


def test_what_eventbridge_has_lost_is_put_back_and_what_is_left_over_goes(policy: Policy) -> None:
    put(policy)
    scheduler.delete(f"RETENTION-{policy.number}")
    scheduler.put("RETENTION-999999", "cron(0 0 * * ? *)", "{}")
    schedules.establish_all()
    assert of_eventbridge(policy) is not None
    assert "RETENTION-999999" not in scheduler.names()


def test_of_updates_at_once_the_last_ones_state_is_left(policy: Policy) -> None:
    texts = [f"0 {minute} * * * *" for minute in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda text: put(policy, text), texts))
    kept, found = schedules.find(RETENTION, policy.number), of_eventbridge(policy)
    assert kept is not None
    assert found is not None
    assert found["ScheduleExpression"] == schedules.expression("Custom", kept.cron).expression


@pytest.mark.parametrize(
    ("kind", "text"), [("Custom", ""), ("Sometimes", EVERY_MINUTE), ("Manual", ""), ("Custom", "x")]
)
def test_a_schedule_that_says_nothing_sensible_is_refused(policy: Policy, kind: str, text: str) -> None:
    with pytest.raises(ScheduleInvalidError):
        schedules.put(RETENTION, policy.number, kind, text, {})
    assert schedules.find(RETENTION, policy.number) is None


def test_harbors_choices_have_their_expressions() -> None:
    given = {kind: schedules.expression(kind, "").expression for kind in ("Hourly", "Daily", "Weekly")}
    assert given == {"Hourly": "cron(0 * * * ? *)", "Daily": "cron(0 0 * * ? *)", "Weekly": "cron(0 0 ? * 1 *)"}


@pytest.mark.soak
def test_the_clock_itself_starts_it(policy: Policy) -> None:
    put(policy)
    deadline = time.monotonic() + 150
    while not started(policy):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert wait(started(policy)[0]).trigger is Trigger.SCHEDULE
