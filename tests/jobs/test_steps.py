"""The steps that jobs of many tasks share: what becomes of tasks that raise, are killed, stopped, or take too long."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.jobs import executions, steps
from chalicelib.jobs.errors import StoppedError
from chalicelib.jobs.records import TASKS, Execution, Status, Task, Trigger
from chalicelib.jobs.store import executions as table
from chalicelib.jobs.store import tasks
from chalicelib.retention.policies import RETENTION
from chalicelib.storage.conditions import is_transient

COUNT = 20


@pytest.fixture
def execution(cloud: dict[str, str]) -> Execution:
    """One that runs, with tasks that nobody has begun."""
    made = table.create(RETENTION, 0, Trigger.MANUAL, "", {}, "")
    assert made is not None
    tasks.create(made.number, 1, ({"name": str(each)} for each in range(COUNT)))
    return executions.require_running(made.number)


def work(execution: Execution, do: Any, worker: int = 0, position: int = 0) -> dict[str, Any]:
    return dict(steps.work(execution, {"worker": worker, "position": position}, do))


def succeed(_execution: Execution, task: Task) -> None:
    tasks.finish(task, Status.SUCCESS)


def of_worker(execution: Execution, worker: int) -> list[Task]:
    return [task for task in tasks.read_all(execution.number) if task.ordinal % steps.WORKERS == worker]


def test_the_workers_share_all_tasks_and_do_each_once(execution: Execution) -> None:
    for worker in range(steps.WORKERS):
        assert work(execution, succeed, worker)["done"]
        assert work(execution, succeed, worker)["done"], "again: nothing is left"
    done = tasks.read_all(execution.number)
    assert [(task.status, task.run_count) for task in done] == [(Status.SUCCESS, 1)] * COUNT
    steps.finish(execution, {})
    assert executions.get(execution.number).status is Status.SUCCESS


def test_a_task_that_raises_is_an_error_and_the_others_go_on(execution: Execution) -> None:
    def fail_first(execution: Execution, task: Task) -> None:
        if task.ordinal == steps.WORKERS:
            raise ValueError("broken")
        succeed(execution, task)

    assert work(execution, fail_first)["done"]
    first, *others = of_worker(execution, 0)
    assert (first.status, first.message) == (Status.ERROR, "broken")
    assert {task.status for task in others} == {Status.SUCCESS}
    steps.finish(execution, {})
    ended = executions.get(execution.number)
    assert (ended.status, ended.message) == (Status.ERROR, "1 of its tasks failed")


def test_a_throttled_store_is_for_the_machine_to_try_again_and_given_up_in_the_end(execution: Execution) -> None:
    def throttled(_execution: Execution, _task: Task) -> None:
        raise ThrottledError

    for _ in range(3):
        with pytest.raises(ThrottledError):
            work(execution, throttled)
    with pytest.raises(ThrottledError):
        work(execution, throttled)
    first, second = of_worker(execution, 0)
    assert (first.status, first.message) == (Status.ERROR, "given up after 3 tries")
    assert (second.status, second.run_count) == (Status.RUNNING, 1)
    assert work(execution, succeed)["done"]
    assert of_worker(execution, 0)[1].status is Status.SUCCESS


def test_a_worker_that_is_killed_leaves_its_task_to_the_next_try(execution: Execution) -> None:
    def killed(_execution: Execution, _task: Task) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(execution, killed)
    assert of_worker(execution, 0)[0].status is Status.RUNNING
    assert work(execution, succeed)["done"]
    assert [(task.status, task.run_count) for task in of_worker(execution, 0)] == [
        (Status.SUCCESS, 2),
        (Status.SUCCESS, 1),
    ]


def test_a_stop_is_seen_before_the_next_task(execution: Execution) -> None:
    def stop(execution: Execution, task: Task) -> None:
        succeed(execution, task)
        executions.stop(execution)

    with pytest.raises(StoppedError):
        work(execution, stop)
    first, second = of_worker(execution, 0)
    stopped = executions.get(execution.number)
    assert (first.status, second.status) == (Status.SUCCESS, Status.PENDING)
    assert second.status_in(stopped) is Status.STOPPED


def test_a_task_that_finds_the_execution_over_has_not_failed(execution: Execution) -> None:
    def stop(_execution: Execution, task: Task) -> None:
        raise StoppedError("it is over")

    with pytest.raises(StoppedError):
        work(execution, stop)
    assert Status.ERROR not in set(tasks.statuses(execution.number))


def test_a_slice_whose_time_is_over_comes_back_and_goes_on(
    execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SLICE_SECONDS", -1.0)
    position = work(execution, succeed)
    assert position == {"position": steps.WORKERS - 1, "done": False}
    monkeypatch.undo()
    assert work(execution, succeed, position=position["position"])["done"]
    assert {task.status for task in of_worker(execution, 0)} == {Status.SUCCESS}


def test_a_task_is_known_by_its_number_alone(execution: Execution) -> None:
    [first, *_] = tasks.read_all(execution.number)
    assert first.number == execution.number * TASKS + 1
    assert tasks.read(first.number) == first
    assert tasks.read(execution.number * TASKS + COUNT + 1) is None
    assert tasks.count(execution.number) == COUNT


def test_a_log_is_shown_up_to_its_limit(execution: Execution) -> None:
    [first, *_] = tasks.read_all(execution.number)
    tasks.write_log(first, "é" * (tasks.LOG_BYTES // 2), part=1)
    assert tasks.read_log(first.number) == "é" * (tasks.LOG_BYTES // 2)
    tasks.write_log(first, "more", part=2)
    shown = tasks.read_log(first.number)
    assert shown.endswith("(the rest of this log is not shown)\n")
    assert len(shown.encode()) < tasks.LOG_BYTES + 100
    assert tasks.read_log(first.number + 1) == ""


class ThrottledError(Exception):
    """As DynamoDB's client raises it, by its cause."""

    def __init__(self) -> None:
        from botocore.exceptions import ClientError

        super().__init__("throttled")
        self.__cause__ = ClientError({"Error": {"Code": "ThrottlingException"}}, "Query")
        assert is_transient(self)
