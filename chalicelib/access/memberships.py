"""Which roles a user has: what every decision asks. Giving and taking them is members.py's."""

from __future__ import annotations

from chalicelib.projects.records import Project
from chalicelib.storage import members as table
from chalicelib.storage.members import Entity
from chalicelib.timed_cache import TimedCache

_KNOWN_SECONDS = 30

_roles: TimedCache[tuple[int, int], frozenset[int]] = TimedCache(4096)


def roles_of(user: int, project: Project) -> frozenset[int]:
    """The roles that the user of this number has in `project`, at most half a minute old."""
    key = (user, project.project_id)
    cached = _roles.get(key)
    if cached is not None:
        return cached[0]
    return _roles.put(key, table.read_roles(project.project_id, [Entity("user", user)]), _KNOWN_SECONDS)


def projects_of(user: int) -> frozenset[int]:
    """The numbers of the projects in which the user has a role."""
    return frozenset(table.projects_of(Entity("user", user)))


def forget(user: int, project_id: int) -> None:
    """A role has changed: what this process remembers of it is no longer so."""
    _roles.drop((user, project_id))
