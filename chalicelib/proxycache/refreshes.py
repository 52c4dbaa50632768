"""Refreshes of a proxy project: what they are told, when they run, and what they have done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chalicelib.jobs import executions, kinds, schedules
from chalicelib.jobs.errors import ScheduleInvalidError
from chalicelib.jobs.records import Execution, Kind, Status, Task, Trigger
from chalicelib.jobs.store import tasks
from chalicelib.jobs.store.schedules import Schedule

PROXY_REFRESH = kinds.register(Kind("PROXY_REFRESH", "proxy-refresh"))
"""Berth's own: of a project, whose number is the vendor id."""

ALL, PULLED = "all", "pulled"
POLICIES = (ALL, PULLED)
DAYS, MOST_DAYS = 7, 3650
"""How long a tag is looked after since its last pull: as long as Harbor's default retention keeps it."""

_LOG_BYTES = 4 << 20
_PAGE = 1000


@dataclass(frozen=True)
class Selection:
    """Which tags a refresh looks at: all, or those that were pulled within some days."""

    policy: str
    days: int

    def to_json(self) -> dict[str, Any]:
        return {"policy": self.policy, "days": 0 if self.policy == ALL else self.days}


def selection(parameters: Mapping[str, Any]) -> Selection:
    """What {"policy", "days"} says. Raises ScheduleInvalidError."""
    policy, days = parameters.get("policy", PULLED), parameters.get("days", DAYS)
    if policy not in POLICIES:
        raise ScheduleInvalidError(f"policy must be one of {', '.join(POLICIES)}")
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= MOST_DAYS:
        raise ScheduleInvalidError(f"days must be a number up to {MOST_DAYS}")
    if policy == PULLED and not days:
        raise ScheduleInvalidError("days must be at least 1")
    return Selection(policy, days)


def start(project_id: int, wanted: Selection, operator: str) -> Execution:
    """Refresh now. Raises as executions.start does."""
    return executions.start(PROXY_REFRESH, project_id, Trigger.MANUAL, operator=operator, extra=wanted.to_json())


def schedule(project_id: int, kind: str, text: str, wanted: Selection) -> None:
    """Refresh by a schedule from now on. Raises as schedules.put does."""
    schedules.put(PROXY_REFRESH, project_id, kind, text, wanted.to_json())


def unschedule(project_id: int) -> None:
    schedules.remove(PROXY_REFRESH, project_id)


def scheduled(project_id: int) -> Schedule | None:
    return schedules.find(PROXY_REFRESH, project_id)


def forget(project_id: int) -> None:
    """End and drop what there is of a project that is gone."""
    unschedule(project_id)
    executions.forget(PROXY_REFRESH, project_id)


def log(execution: Execution) -> str:
    """A line for each tag that was looked at so far, up to 4 MiB of them."""
    lines: list[str] = []
    size, position = 0, 0
    while (page := tasks.read_page(execution.number, position, _PAGE)) and size < _LOG_BYTES:
        position = page[-1].ordinal
        lines += [_line(task) for task in page if task.status.is_final]
        size = sum(len(line) for line in lines)
    return "".join(lines)


def _line(task: Task) -> str:
    stamp = datetime.fromtimestamp(task.ended / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    has_failed = task.status is not Status.SUCCESS
    what = task.message if has_failed else task.extra["outcome"]
    level = "ERROR" if has_failed else "INFO"
    return f"{stamp} [{level}] {task.extra['repository']}:{task.extra['tag']} {what}\n"
