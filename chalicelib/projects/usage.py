"""What projects use of the storage, and how much they may: the one place that summaries and statistics ask."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from chalicelib.projects.records import Project
from chalicelib.projects.store import usage as table


class Usage(NamedTuple):
    """Bytes; a `hard` limit of -1 is none."""

    hard: int
    used: int


def stored() -> int:
    """Bytes that all projects use together."""
    return table.stored()


def usage(projects: Collection[Project]) -> dict[int, Usage]:
    """The usage of each of `projects`, by the project's number."""
    totals = table.read_totals([project.project_id for project in projects])
    return {
        project.project_id: Usage(project.storage_limit, sum(total.used for total in totals[project.project_id]))
        for project in projects
    }
