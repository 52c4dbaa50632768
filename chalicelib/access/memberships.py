"""Which roles a user has, by name or as one of a group: what every decision asks.

Giving and taking roles is members.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from chalicelib.projects.records import Project
from chalicelib.projects.store import members as table
from chalicelib.projects.store.members import Entity
from chalicelib.timed_cache import TimedCache

_KNOWN_SECONDS = 30

_roles: TimedCache[tuple[tuple[Entity, ...], int, int], frozenset[int]] = TimedCache(4096)
_changes: Counter[int] = Counter()
"""How often this process has changed the roles of a project: what it remembers from before is no longer so."""


def roles_of(entities: tuple[Entity, ...], project: Project) -> frozenset[int]:
    """The roles that a user and the user's groups have in `project`, at most half a minute old.

    One call when cold, for up to 99 groups.
    """
    key = (entities, project.project_id, _changes[project.project_id])
    cached = _roles.get(key)
    if cached is not None:
        return cached[0]
    return _roles.put(key, table.read_roles(project.project_id, entities), _KNOWN_SECONDS)


def projects_of(entities: Iterable[Entity]) -> frozenset[int]:
    """The numbers of the projects in which one of `entities` has a role: one call for each entity."""
    return frozenset(number for entity in entities for number in table.projects_of(entity))


def forget_roles(entities: tuple[Entity, ...], project: Project) -> None:
    """Have the roles of `entities` in `project` read again, when they are asked for next."""
    _roles.drop((entities, project.project_id, _changes[project.project_id]))


def forget(project_id: int) -> None:
    """A role in a project has changed: what this process remembers of them is no longer so."""
    _changes[project_id] += 1
