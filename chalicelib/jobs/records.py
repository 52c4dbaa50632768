"""What an execution, its tasks and their states are. The names are Harbor's (src/pkg/task, src/jobservice/job)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chalicelib.events.records import Event

TASKS = 1_000_000
"""Tasks that an execution may have. A task's number holds its execution's, so that it is unique without a counter."""


class Status(StrEnum):
    """Of an execution and of a task."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCESS = "Success"
    ERROR = "Error"
    STOPPED = "Stopped"

    @property
    def is_final(self) -> bool:
        return self not in UNFINISHED

    @property
    def code(self) -> int:
        """Harbor's order of the states (job.Status.Code)."""
        return {Status.PENDING: 0, Status.RUNNING: 2}.get(self, 3)


UNFINISHED = (Status.PENDING, Status.RUNNING)


class Trigger(StrEnum):
    """What made an execution start."""

    MANUAL = "MANUAL"
    SCHEDULE = "SCHEDULE"
    EVENT = "EVENT"


@dataclass(frozen=True)
class Kind:
    """A kind of job: Harbor's vendor type, and the state machine that drives it.

    Of one that is exclusive, one execution at a time runs for each vendor id; of others as many as are started, as in
    Harbor, and their steps are such that two do no harm.
    """

    vendor_type: str
    machine: str
    is_exclusive: bool = True
    tell: Callable[[Execution], Event] | None = None
    """Makes what the audit log and webhooks are told of an execution that has ended, if they are told of it."""
    account: Callable[[Execution], Mapping[str, Any]] | None = None
    """Reads what an execution has come to, for what it has to tell when it ends, however it does."""


@dataclass(frozen=True)
class Execution:
    """One run of a job. Times are milliseconds since 1970; `ended` is 0 until it is final.

    `vendor_id` is the number of the policy that it carries out, SYSTEM where there is one for the whole registry.
    `extra` is what the job is told and what it has to tell: JSON.
    """

    number: int
    vendor_type: str
    vendor_id: int
    status: Status
    message: str
    trigger: Trigger
    operator: str
    extra: Mapping[str, Any]
    is_exclusive: bool
    started: int
    ended: int
    updated: int


SYSTEM = 0
"""As a vendor id: the job is the registry's own."""


@dataclass(frozen=True)
class Task:
    """A part of an execution. `ordinal` counts from 1 within it, `run_count` how often it was begun."""

    execution: int
    ordinal: int
    status: Status
    message: str
    run_count: int
    extra: Mapping[str, Any]
    created: int
    started: int
    ended: int
    updated: int

    @property
    def number(self) -> int:
        return self.execution * TASKS + self.ordinal

    @property
    def job_id(self) -> str:
        """What Harbor's job service calls it: 24 hexadecimal digits."""
        return f"{self.number:024x}"

    def status_in(self, execution: Execution) -> Status:
        """What has become of it: of what was under way when its execution ended, nobody tells any more."""
        return execution.status if execution.status.is_final and not self.status.is_final else self.status
