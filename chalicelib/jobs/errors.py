"""What can go wrong with a job. The API's mapper writes these in Harbor's form."""

from __future__ import annotations

from chalicelib import domain_errors


class RunningError(domain_errors.AlreadyExistsError):
    """Another execution of the same job is under way."""


class ExecutionNotFoundError(domain_errors.NotFoundError):
    """No such execution, or it is too long ago."""


class TaskNotFoundError(domain_errors.NotFoundError):
    """No such task."""


class JobTypeUnknownError(domain_errors.NotFoundError):
    """There is no such kind of job."""


class ScheduleInvalidError(domain_errors.InvalidError):
    """A schedule that says nothing sensible, or what EventBridge Scheduler cannot do."""


class ChangedError(domain_errors.ChangedError):
    """Others changed the schedule at the same time."""


class StoppedError(Exception):
    """The execution has ended, be it by a stop: its tasks have nothing more to do.

    State machines catch it by this name, as the end that it is (infra/statemachines).
    """
