"""What can go wrong with a job. The API's mapper writes these in Harbor's form."""

from __future__ import annotations


class JobError(Exception):
    """Base; the text is for the client."""


class RunningError(JobError):
    """Another execution of the same job is under way."""


class ExecutionNotFoundError(JobError):
    """No such execution, or it is too long ago."""


class TaskNotFoundError(JobError):
    """No such task."""


class JobTypeUnknownError(JobError):
    """There is no such kind of job."""


class ScheduleInvalidError(JobError):
    """A schedule that says nothing sensible, or what EventBridge Scheduler cannot do."""


class ChangedError(JobError):
    """Others changed the schedule at the same time."""


class StoppedError(Exception):
    """The execution has ended, be it by a stop: its tasks have nothing more to do.

    State machines catch it by this name, as the end that it is (infra/statemachines).
    """
