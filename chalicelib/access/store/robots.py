"""The Accounts table: robots, each under its project and name, and their numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.projects.store import projects
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import new_id, now
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import padded
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

ROBOT_PREFIX = "robot|"
ROBOT_NUMBER = "robot-number"

LOGIN_PREFIX = "robot$"
"""What a robot's name starts with, as in Harbor by default; no user's name does."""
NAME_LENGTH = 255
"""Characters of a robot's name without its project, and of a project's."""

SYSTEM = 0
"""In place of a project's number: a robot of the system, or permissions outside of projects."""
ALL_PROJECTS = 0
"""In place of a project's number: permissions in every project."""
NEVER = -1
"""As a duration and as the time of expiry."""


@dataclass(frozen=True)
class Access:
    """An action on a kind of resource (access/roles.py), and whether it is given: `allow` or `deny`."""

    resource: str
    action: str
    effect: str


@dataclass(frozen=True)
class Grant:
    """What a robot may do in one place: the kind `system` is outside of projects, `project` is in one or in all.

    The project's number counts: another project that takes over the name is not meant.
    """

    kind: str
    namespace: str
    project_id: int
    access: tuple[Access, ...]


@dataclass(frozen=True)
class Robot:
    """`duration` is in days, `expires` in seconds since 1970, other times in milliseconds. `version` is fresh with
    every write of the record.
    """

    number: int
    project_id: int
    project: str
    """The project's name, empty for a robot of the system."""
    name: str
    description: str
    secret_hash: str = field(repr=False)
    duration: int
    expires: int
    disabled: bool
    grants: tuple[Grant, ...]
    creator_type: str
    creator_number: int
    created: int
    updated: int
    version: str

    @property
    def login(self) -> str:
        """The name that the robot logs in with."""
        return f"{LOGIN_PREFIX}{self.project}+{self.name}" if self.project else f"{LOGIN_PREFIX}{self.name}"


def read(number: int) -> Robot | None:
    item = reads.get_item(Key(settings().accounts_table, ROBOT_NUMBER, padded(number)))
    robot = _read(item["project_id"], item["name"]) if item else None
    # A name changes hands only by a delete: what was read before it may be another robot now.
    return robot if robot is not None and robot.number == number else None


def read_by_login(login: str) -> Robot | None:
    """The robot that logs in with this name: `robot$<name>`, or `robot$<project>+<name>`."""
    owner, plus, name = login.removeprefix(LOGIN_PREFIX).rpartition("+")
    if not 1 <= len(name) <= NAME_LENGTH:
        return None
    if not plus:
        return _read(SYSTEM, name)
    project = projects.read(owner) if 1 <= len(owner) <= NAME_LENGTH else None
    return _read(project.project_id, name) if project else None


def read_all(project_id: int) -> list[Robot]:
    """Every robot of a project, or of the system, by name."""
    return [_to_robot(item) for item in reads.query_all(settings().accounts_table, _partition(project_id), "")]


def create(robot: Robot, event: Event) -> bool:
    """Write a robot and its number. False when the name is taken, or the project is not there any more."""

    def write(transaction: TransactWrite) -> None:
        transaction.save(_to_item(robot), condition=tables.RobotItem.pk.does_not_exist())
        transaction.save(_to_number(robot))
        audit.record(transaction, event)
        if robot.project:
            project = tables.ProjectItem.project_id == robot.project_id
            transaction.condition_check(tables.ProjectItem, projects.PROJECT, robot.project, condition=project)

    return transact(write)


def replace(before: Robot, after: Robot, event: Event) -> bool:
    """Write `after` in place of `before`, which has the same number and name. False when it changed meanwhile."""

    def write(transaction: TransactWrite) -> None:
        transaction.save(_to_item(after), condition=tables.RobotItem.version == before.version)
        audit.record(transaction, event)

    return transact(write)


def delete(robot: Robot, event: Event | None = None) -> bool:
    """Remove a robot and its number; `event` tells of it, unless its project goes too. False when it was gone."""

    def write(transaction: TransactWrite) -> None:
        transaction.delete(_to_item(robot), condition=tables.RobotItem.number == robot.number)
        transaction.delete(_to_number(robot))
        if event is not None:
            audit.record(transaction, event)

    return transact(write)


def delete_all(project_id: int) -> None:
    """Remove the robots of a project that is gone, so that none is added meanwhile."""
    for robot in read_all(project_id):
        delete(robot)


def _partition(project_id: int) -> str:
    return f"{ROBOT_PREFIX}{padded(project_id)}"


def _read(project_id: int, name: str) -> Robot | None:
    item = reads.get_item(Key(settings().accounts_table, _partition(project_id), name))
    return _to_robot(item) if item else None


def _to_number(robot: Robot) -> tables.RobotNumberItem:
    return tables.RobotNumberItem(ROBOT_NUMBER, padded(robot.number), project_id=robot.project_id, name=robot.name)


def _to_item(robot: Robot) -> tables.RobotItem:
    return tables.RobotItem(
        _partition(robot.project_id),
        robot.name,
        number=robot.number,
        project=robot.project,
        description=robot.description,
        secret_hash=robot.secret_hash,
        duration=robot.duration,
        expires_at=robot.expires,
        disabled=robot.disabled,
        grants=[_to_json(grant) for grant in robot.grants],
        creator_type=robot.creator_type,
        creator_number=robot.creator_number,
        version=new_id(),
        created=robot.created,
        updated=now(),
    )


def _to_robot(item: Item) -> Robot:
    return Robot(
        item["number"],
        int(item["pk"].removeprefix(ROBOT_PREFIX)),
        item["project"],
        item["sk"],
        item["description"],
        item["secret_hash"],
        item["duration"],
        item["expires_at"],
        item["disabled"],
        tuple(_to_grant(grant) for grant in json.loads(item["grants"])),
        item["creator_type"],
        item["creator_number"],
        item["created"],
        item["updated"],
        item["version"],
    )


def _to_json(grant: Grant) -> dict[str, Any]:
    access = [[each.resource, each.action, each.effect] for each in grant.access]
    return {"kind": grant.kind, "namespace": grant.namespace, "project_id": grant.project_id, "access": access}


def _to_grant(grant: dict[str, Any]) -> Grant:
    access = tuple(Access(*each) for each in grant["access"])
    return Grant(grant["kind"], grant["namespace"], grant["project_id"], access)
