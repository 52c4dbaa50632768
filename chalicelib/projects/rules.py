"""Creating, finding and changing projects; deleting them is deletion.py's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from chalicelib import retrying
from chalicelib.events.records import JOBS, Actor, Event
from chalicelib.projects.errors import (
    AlreadyExistsError,
    ChangedError,
    NameInvalidError,
    NotFoundError,
    RegistryInvalidError,
)
from chalicelib.projects.records import UNLIMITED, Project
from chalicelib.projects.store import projects as table
from chalicelib.projects.store.members import Entity, Member
from chalicelib.storage.counters import account_number
from chalicelib.storage.tables.keys import ADMINISTRATOR
from chalicelib.timed_cache import TimedCache

NAME_LENGTH = 255

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*\Z")
"""Harbor's rule (src/server/v2.0/handler/project.go, validateProjectReq)."""

_NO_NAME = "-"
NO_NUMBER = -1
"""No project has them."""

_PROJECT_ADMIN = 1
"""Harbor's number of the owner's role."""

_KNOWN_SECONDS = 30
_UNKNOWN_SECONDS = 2


_found: TimedCache[str, Project | None] = TimedCache(4096)
_looked_at: TimedCache[str, bool] = TimedCache(4096)
"""The names that were read in the last 2 seconds."""


def find(name: str) -> Project | None:
    """The project `name`, as it was at most 30 seconds ago; that there is none, at most 2 seconds ago."""
    cached = _found.get(name)
    if cached is not None:
        return cached[0]
    project = table.read(name)
    _looked_at.put(name, True, _UNKNOWN_SECONDS)
    return _found.put(name, project, _KNOWN_SECONDS if project else _UNKNOWN_SECONDS)


def find_numbered(name: str, project_id: int) -> Project | None:
    """The project `name` as `find` gives it, if it has this number: what has come with it ends with the project."""
    project = find(name)
    if project is None or project.project_id < project_id:
        forget(name)  # numbers only grow: what is remembered here is a project that is gone, or was not there yet
        project = find(name)
    return project if project is not None and project.project_id == project_id else None


def find_to_refuse(name: str) -> Project | None:
    """As `find`, but at most 2 seconds old, whether there is one or not: asking shows neither by how long it takes."""
    if _looked_at.get(name) is None:
        _found.drop(name)
    return find(name)


def get(name: str) -> Project:
    """The project `name` as it is now. Raises NotFoundError."""
    project = table.read(name)
    if project is None:
        raise NotFoundError(f"project {name} not found")
    return project


def get_by_id(project_id: int) -> Project:
    """The project with this number. Raises NotFoundError."""
    # A number that is nobody's costs the same two reads: its answer takes no less time than a private project's.
    project = table.read(table.read_name(project_id) or _NO_NAME)
    if project is None or project.project_id != project_id:
        raise NotFoundError(f"project {project_id} not found")
    return project


def list_all() -> list[Project]:
    """Every project, by name."""
    return table.read_all()


def list_each(project_ids: Iterable[int]) -> list[Project]:
    """The projects with these numbers that exist, by name."""
    return table.read_each_by_id(project_ids)


def is_empty(project: Project) -> bool:
    """Whether the project has no repository, so that it can be deleted."""
    return not table.has_repositories(project.name)


def create(
    name: str,
    owner: str,
    *,
    public: bool,
    owner_number: int = ADMINISTRATOR,
    metadata: Mapping[str, str] = MappingProxyType({}),
    storage_limit: int = UNLIMITED,
    registry_id: int = 0,
    actor: Actor = JOBS,
) -> Project:
    """Make a project, and its owner a member with the role of a project admin. `storage_limit` is a valid one.

    With a `registry_id`, a proxy cache of that upstream registry. Raises NameInvalidError, AlreadyExistsError,
    RegistryInvalidError, or ChangedError when others keep creating projects.
    """
    if len(name) > NAME_LENGTH or not _NAME.match(name):
        raise NameInvalidError(
            f"project name {name[:NAME_LENGTH]!r} is invalid: use at most {NAME_LENGTH} lower-case letters, "
            "digits and separators '.', '_' or '-' between them"
        )
    for _ in retrying.attempts(retrying.MEDIUM):
        if table.read(name) is not None:
            raise AlreadyExistsError(f"The project named {name} already exists")
        if registry_id and not table.has_registry(registry_id):
            raise RegistryInvalidError(f"failed to get the registry {registry_id}: there is none")
        number = account_number("member")
        member = Member(table.next_id(), Entity("user", owner_number), owner, _PROJECT_ADMIN, number)
        event = event_of("create", name, member.project_id, actor)
        project = table.create(
            name,
            member,
            public=public,
            metadata=metadata,
            storage_limit=storage_limit,
            registry_id=registry_id,
            event=event,
        )
        if project is not None:
            _found.drop(name)
            return project
        # The name is taken now, or another project was counted at the same moment.
    raise ChangedError("too many projects are being created: try again")


def update(project: Project, *, public: bool, metadata: Mapping[str, str], actor: Actor = JOBS) -> None:
    """Change a project's settings. Raises ChangedError when others did meanwhile."""
    event = event_of("update", project.name, project.project_id, actor)
    for _ in retrying.attempts(retrying.MEDIUM):
        updated = table.update(project, public=public, metadata=metadata, event=event)
        _found.drop(project.name)
        if updated:
            return
        current = table.read(project.name)
        if current is None or current.version != project.version:
            break
        project = current  # the same settings, but another number of repositories
    raise ChangedError(f"the project {project.name} is being changed by others: try again")


def forget(name: str) -> None:
    """A project has changed: what this process remembers of it is no longer so."""
    _found.drop(name)


def set_immutable_rules(project: Project, immutable_rules: Sequence[Mapping[str, Any]]) -> bool:
    """Replace a project's immutable tag rules. False when others changed the project meanwhile."""
    is_set = table.set_immutable_rules(project, immutable_rules)
    _found.drop(project.name)
    return is_set


def event_of(operation: str, name: str, project_id: int, actor: Actor) -> Event:
    """What the audit log is told of a change to a project."""
    description = f"{operation} project: {name}"
    return Event(operation, "project", name, actor, project_id=project_id, description=description)
