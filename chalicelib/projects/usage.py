"""What projects use of the storage, and how much they may: the one place that summaries and statistics ask."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from chalicelib.projects.records import Project


class Usage(NamedTuple):
    """Bytes; a `hard` limit of -1 is none."""

    hard: int
    used: int


def usage(projects: Collection[Project]) -> dict[int, Usage]:
    """The usage of each of `projects` that is accounted for, by the project's number: none is, without quotas."""
    del projects
    return {}
