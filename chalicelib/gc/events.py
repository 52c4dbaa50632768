"""What the audit log and webhooks are told of a garbage collection that has ended, however it has."""

from __future__ import annotations

from chalicelib.events.records import JOBS, Actor, Event
from chalicelib.events.topics import COLLECTED
from chalicelib.jobs.records import Execution, Status

_FIGURES = ("purged_blobs", "purged_manifests", "freed_space")


def ended(execution: Execution) -> Event:
    """`execution` is as it has ended, with what it came to (jobs/executions.py: finish).

    What it deleted is entered in the log by the deletions.
    """
    told = execution.extra
    is_dry_run = bool(told.get("dry_run"))
    figures = {name: told.get(name, 0) for name in _FIGURES}
    kind = "dry run of garbage collection" if is_dry_run else "garbage collection"
    described = ", ".join(f"{name}: {figure}" for name, figure in figures.items())
    return Event(
        "execute",
        "gc",
        str(execution.number),
        Actor(execution.operator) if execution.operator else JOBS,
        description=f"{kind} {execution.number}: {execution.status.value}, {described}",
        is_successful=execution.status is Status.SUCCESS,
        topic=COLLECTED,
        detail={
            "id": execution.number,
            "result": execution.status.value,
            "message": execution.message,
            "trigger": execution.trigger.value,
            "dry_run": is_dry_run,
            "delete_untagged": bool(told.get("delete_untagged")),
            **figures,
            "duration_seconds": round((execution.ended - execution.started) / 1000, 1),
        },
        time=execution.ended,
        id=f"{execution.number:032x}",
    )
