"""What Harbor's job service shows, told of Step Functions: a pool for each kind of job, a worker for each execution.

A queue is what waits of a kind: its pending executions. Pausing one keeps jobs of its kind from starting by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.jobs import executions
from chalicelib.jobs.errors import JobTypeUnknownError, TaskNotFoundError
from chalicelib.jobs.kinds import KINDS
from chalicelib.jobs.records import TASKS, Execution, Status
from chalicelib.jobs.schedules import SCHEDULER
from chalicelib.jobs.store import executions as execution_table
from chalicelib.jobs.store import schedules, tasks
from chalicelib.storage.conditions import now

ALL = "all"


@dataclass(frozen=True)
class Queue:
    """`latency` is how long the first has waited, in seconds."""

    job_type: str
    count: int
    latency: int
    is_paused: bool


def queues() -> list[Queue]:
    """One for each kind of job, and the scheduler's own."""
    paused = schedules.paused()
    waiting = [each for each in executions.list_unfinished() if each.status is Status.PENDING]
    found = []
    for job_type in (*KINDS, SCHEDULER):
        started = [each.started for each in waiting if each.vendor_type == job_type]
        latency = (now() - min(started)) // 1000 if started else 0
        found.append(Queue(job_type, len(started), latency, job_type in paused))
    return found


def pause(job_type: str) -> None:
    """Raises JobTypeUnknownError."""
    for each in _types(job_type):
        schedules.pause(each)


def resume(job_type: str) -> None:
    """Raises JobTypeUnknownError."""
    for each in _types(job_type):
        schedules.resume(each)


def stop_pending(job_type: str) -> None:
    """End what waits. Raises JobTypeUnknownError."""
    types = _types(job_type)
    for execution in executions.list_unfinished():
        if execution.status is Status.PENDING and execution.vendor_type in types:
            executions.stop(execution)


def stop_job(job_id: str) -> None:
    """End a job, or all that run: an execution, or one task of it. As in Harbor, one that is not there is no error."""
    if job_id == ALL:
        for execution in executions.list_unfinished():
            executions.stop(execution)
        return
    number = _number(job_id)
    if number % TASKS:
        task = tasks.read(number)
        if task is not None:
            tasks.finish(task, Status.STOPPED)
        return
    found = execution_table.read(number // TASKS)
    if found is not None:
        executions.stop(found)


def log(job_id: str) -> str:
    """The log of a task, or of all of an execution, as far as it is shown. Raises TaskNotFoundError."""
    number = _number(job_id)
    if number % TASKS:
        if tasks.read(number) is None:
            raise TaskNotFoundError(f"job {job_id[:64]} not found")
        return tasks.read_log(number)
    found = tasks.read_page(number // TASKS, 0, _SHOWN_TASKS)
    if not found:
        raise TaskNotFoundError(f"job {job_id[:64]} not found")
    return "".join(tasks.read_log(task.number) for task in found)[: tasks.LOG_BYTES]


_SHOWN_TASKS = 20


def job_id(execution: Execution) -> str:
    """What Harbor's job service calls an execution's job, as Task.job_id a task's."""
    return f"{execution.number * TASKS:024x}"


def _number(job_id: str) -> int:
    """Raises TaskNotFoundError for what is no job's id."""
    if len(job_id) != 24 or not all(letter in "0123456789abcdef" for letter in job_id):
        raise TaskNotFoundError(f"job {job_id[:64]} not found")
    return int(job_id, 16)


def _types(job_type: str) -> Iterable[str]:
    known = (*KINDS, SCHEDULER)
    if job_type.lower() == ALL:
        return known
    if job_type.upper() not in known:
        raise JobTypeUnknownError(f"there is no job type {job_type[:64]}")
    return (job_type.upper(),)
