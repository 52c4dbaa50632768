"""Purges of the audit log: what they are told, as Harbor's API has it, and when they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.events.types import EVENT_TYPES
from chalicelib.jobs import executions, kinds, schedules
from chalicelib.jobs.errors import ScheduleInvalidError
from chalicelib.jobs.records import SYSTEM, Execution, Kind, Trigger
from chalicelib.jobs.store.schedules import Schedule

PURGE_AUDIT_LOG = kinds.register(Kind("PURGE_AUDIT_LOG", "purge-audit-log", is_exclusive=False))

HOURS = 240_000
"""The longest time that entries can be kept (Harbor, src/common/const.go, MaxAuditRetentionHour)."""

_SENT = ("include_event_types", "include_operations")
_TEXT_LIMIT = 4096


def start(parameters: Mapping[str, Any], operator: str) -> Execution:
    """Purge now. Raises ScheduleInvalidError."""
    return executions.start(PURGE_AUDIT_LOG, SYSTEM, Trigger.MANUAL, operator=operator, extra=_checked(parameters))


def schedule(type_: str, text: str, parameters: Mapping[str, Any]) -> None:
    """Purge from now on by a schedule. Raises as schedules.put does."""
    schedules.put(PURGE_AUDIT_LOG, SYSTEM, type_, text, _checked(parameters))


def unschedule() -> None:
    schedules.remove(PURGE_AUDIT_LOG, SYSTEM)


def scheduled() -> Schedule | None:
    return schedules.find(PURGE_AUDIT_LOG, SYSTEM)


def _checked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a purge is told, in one form, and how it was put. Raises ScheduleInvalidError.

    Harbor's older clients name operations (`create`, `delete`, `pull`) where newer ones name types of events. Either
    is shown as it was sent: Terraform compares.
    """
    hours, is_dry_run = parameters.get("audit_retention_hour"), parameters.get("dry_run", False)
    if isinstance(hours, bool) or not isinstance(hours, int) or not 0 <= hours <= HOURS:
        raise ScheduleInvalidError(f"audit_retention_hour should provide, a number of hours up to {HOURS}")
    if not isinstance(is_dry_run, bool):
        raise ScheduleInvalidError("dry_run must be true or false")
    types = parameters.get("include_event_types")
    operations = parameters.get("include_operations")
    sent = {name: parameters[name] for name in _SENT if isinstance(parameters.get(name), str) and parameters[name]}
    if any(len(text) > _TEXT_LIMIT for text in sent.values()):
        raise ScheduleInvalidError(f"include_event_types may have {_TEXT_LIMIT} characters")
    if isinstance(types, str) and (types or not operations):
        wanted = _names(types)
        included = [name for name in EVENT_TYPES if name in wanted]
    elif isinstance(operations, str):
        wanted = _names(operations)
        included = [name for name in EVENT_TYPES if name.partition("_")[0] in wanted]
    else:
        raise ScheduleInvalidError("include_event_types should provide")
    return {"audit_retention_hour": hours, "include_event_types": included, "dry_run": is_dry_run, "sent": sent}


def _names(text: str) -> set[str]:
    return {name.strip().lower() for name in text.split(",")}
