"""The Projects table: how far recounts of usage have come, and what the last of each project found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import now
from chalicelib.storage.reads import Key
from chalicelib.storage.tables.keys import padded

_RECOUNT = "recount"
_ROUND = "round"


def read_round() -> dict[str, Any]:
    """Of the round over all projects; empty before the first."""
    return _read(_ROUND)


def write_round(progress: Mapping[str, Any]) -> None:
    _write(_ROUND, progress)


def read(project_id: int) -> dict[str, Any]:
    """Of one project: its recount under way, or the report of its last; empty before the first."""
    return _read(padded(project_id))


def write(project_id: int, report: Mapping[str, Any]) -> None:
    _write(padded(project_id), report)


def delete(project_id: int) -> None:
    tables.RecountItem(_RECOUNT, padded(project_id)).delete()


def _read(name: str) -> dict[str, Any]:
    item = reads.get_item(Key(settings().projects_table, _RECOUNT, name))
    report: dict[str, Any] = json.loads(item["report"]) if item else {}
    return report


def _write(name: str, report: Mapping[str, Any]) -> None:
    tables.RecountItem(_RECOUNT, name, report=dict(report), updated=now()).save()
