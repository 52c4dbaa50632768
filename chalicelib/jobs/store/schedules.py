"""The Jobs table: schedules of jobs, and which kinds of jobs are paused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.settings import settings
from chalicelib.storage import counters, reads, tables
from chalicelib.storage.conditions import new_id, now
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import padded

if TYPE_CHECKING:
    from pynamodb.expressions.update import Action

SCHEDULE = "schedule"
PAUSE = "pause"


@dataclass(frozen=True)
class Schedule:
    """When a job starts by itself. Times are milliseconds since 1970; `kind` is Harbor's: Daily, Custom and so on.

    `parameters` are what its executions are told. `version` is fresh with every write of the record.
    """

    number: int
    vendor_type: str
    vendor_id: int
    kind: str
    cron: str
    parameters: Mapping[str, Any]
    created: int
    updated: int
    version: str


def read(vendor_type: str, vendor_id: int) -> Schedule | None:
    item = reads.get_item(Key(settings().jobs_table, SCHEDULE, _sort_key(vendor_type, vendor_id)))
    return _to_schedule(item) if item else None


def read_all() -> list[Schedule]:
    """Every schedule, by kind of job and policy."""
    return [_to_schedule(item) for item in reads.query_all(settings().jobs_table, SCHEDULE, "")]


def write(vendor_type: str, vendor_id: int, kind: str, cron: str, parameters: Mapping[str, Any]) -> None:
    """Set a job's schedule, in place of the one that it has: its number and the time of its creation stay."""
    time = now()
    actions: list[Action] = [
        tables.ScheduleItem.number.set(tables.ScheduleItem.number | counters.job_number(SCHEDULE)),
        tables.ScheduleItem.kind.set(kind),
        tables.ScheduleItem.cron.set(cron),
        tables.ScheduleItem.parameters.set(dict(parameters)),
        tables.ScheduleItem.created.set(tables.ScheduleItem.created | time),
        tables.ScheduleItem.updated.set(time),
        tables.ScheduleItem.version.set(new_id()),
    ]
    tables.ScheduleItem(SCHEDULE, _sort_key(vendor_type, vendor_id)).update(actions=actions)


def delete(vendor_type: str, vendor_id: int) -> None:
    """Remove a job's schedule; that there is none is no error."""
    tables.ScheduleItem(SCHEDULE, _sort_key(vendor_type, vendor_id)).delete()


def pause(job_type: str) -> None:
    """Keep jobs of a kind from starting by themselves. When it was paused before, that time stays."""
    tables.PauseItem(PAUSE, job_type).update(actions=[tables.PauseItem.since.set(tables.PauseItem.since | now())])


def resume(job_type: str) -> None:
    tables.PauseItem(PAUSE, job_type).delete()


def paused() -> frozenset[str]:
    """The kinds of jobs that are paused."""
    return frozenset(item["sk"] for item in reads.query_all(settings().jobs_table, PAUSE, ""))


def _sort_key(vendor_type: str, vendor_id: int) -> str:
    return f"{vendor_type}|{padded(vendor_id)}"


def _to_schedule(item: Item) -> Schedule:
    vendor_type, _, vendor_id = item["sk"].rpartition("|")
    return Schedule(
        item["number"],
        vendor_type,
        int(vendor_id),
        item["kind"],
        item["cron"],
        json.loads(item["parameters"]),
        item["created"],
        item["updated"],
        item["version"],
    )
