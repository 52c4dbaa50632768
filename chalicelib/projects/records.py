"""A project, as the rest of Berth sees it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Project:
    """Times are milliseconds since 1970. `version` is fresh with every write of the record."""

    name: str
    project_id: int
    public: bool
    owner: str
    created: int
    updated: int
    version: str
