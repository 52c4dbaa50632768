"""Robots: accounts of machines, with permissions one by one, in a project or in the system.

The rules are Harbor's (src/server/v2.0/handler/robot.go, src/controller/robot/controller.go).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from chalicelib import retrying
from chalicelib.access import accounts, configuration, passwords
from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import granted
from chalicelib.access.errors import (
    AlreadyExistsError,
    ChangedError,
    InvalidError,
    NotAllowedError,
    NotFoundError,
)
from chalicelib.access.roles import Permission, Permissions
from chalicelib.access.store import robots as table
from chalicelib.access.store.robots import ALL_PROJECTS, NAME_LENGTH, NEVER, SYSTEM, Grant, Robot
from chalicelib.events.records import JOBS, Actor, Event
from chalicelib.projects import rules
from chalicelib.projects.errors import NotFoundError as ProjectNotFoundError
from chalicelib.projects.records import Project
from chalicelib.storage.conditions import now
from chalicelib.storage.counters import account_number

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*\Z")
_DESCRIPTION_LENGTH = 1024
_DURATION_LIMIT = 2**31 - 1
_DAY_SECONDS = 86400
_GRANT_LIMIT = 500
"""Places that a robot may have permissions in: the record must stay below DynamoDB's 400 KB."""

_SECRET_LENGTHS = range(8, 129)


def _permissions(table: Mapping[str, str]) -> tuple[Permission, ...]:
    return tuple(Permission(resource, action) for resource, actions in table.items() for action in actions.split())


# Source: Harbor, src/common/rbac/const.go (PoliciesMap, NolimitProvider). There is no `robot update`: with it a robot
# could take over one that may do more, by giving it a new secret.
IN_SYSTEM = _permissions(
    {
        "audit-log": "list",
        "preheat-instance": "read create delete list update",
        "project": "list create",
        "replication-policy": "read create delete list update",
        "replication": "read create list",
        "replication-adapter": "list",
        "registry": "read create delete list update",
        "scan-all": "read update stop create",
        "system-volumes": "read",
        "garbage-collection": "read create list update stop",
        "purge-audit": "read create list update stop",
        "jobservice-monitor": "list stop",
        "scanner": "read create delete list update",
        "label": "read create delete update",
        "security-hub": "read list",
        "catalog": "read",
        "quota": "read list update",
        "robot": "create read list delete",
        "user": "create read update list delete",
        "ldap-user": "create list",
        "export-cve": "create read",
        "user-group": "create read update list delete",
    }
)
IN_PROJECT = _permissions(
    {
        "log": "list",
        "project": "read delete update",
        "metadata": "read create delete list update",
        "repository": "read update delete list pull push",
        "artifact": "read create list delete",
        "scan": "create read stop",
        "sbom": "create read stop",
        "tag": "create list delete",
        "accessory": "list",
        "artifact-addition": "read",
        "artifact-label": "create delete",
        "scanner": "create read",
        "preheat-policy": "read create delete list update",
        "immutable-tag": "create delete list update",
        "notification-policy": "read create delete list update",
        "tag-retention": "read create delete list update",
        "label": "read create delete list update",
        "quota": "read",
        "robot": "create read list delete",
        "member": "create read update list delete",
    }
)
_OF_KIND: Mapping[str, Permissions] = {"system": frozenset(IN_SYSTEM), "project": frozenset(IN_PROJECT)}


@dataclass(frozen=True)
class Settings:
    """What can be changed of a robot. `duration` is in days, NEVER without end; None leaves it as it is, and is the
    configuration's for a new robot.

    The numbers of the grants' projects are looked up, by their names.
    """

    description: str
    duration: int | None
    disabled: bool
    grants: Sequence[Grant]


def get(number: int) -> Robot:
    """Raises NotFoundError."""
    robot = table.read(number)
    if robot is None:
        raise NotFoundError(f"robot {number} not found")
    return robot


def list_all(project_id: int) -> list[Robot]:
    """The robots of a project, or of the system, by number."""
    return sorted(table.read_all(project_id), key=lambda robot: robot.number)


def create(
    caller: Caller, project: Project | None, name: str, secret: str, settings: Settings, actor: Actor = JOBS
) -> tuple[Robot, str]:
    """Make a robot of `project`, or of the system, and return it with its secret, generated if `secret` is empty.

    Raises InvalidError, AlreadyExistsError, NotAllowedError for a robot that would give more than it has, or the
    projects' NotFoundError.
    """
    if not _NAME.match(name) or len(name) > NAME_LENGTH:
        raise InvalidError(f"robot name is not in lower case or contains illegal characters, or over {NAME_LENGTH}")
    duration = settings.duration
    if duration is None:
        duration = configuration.current().robot_token_duration
    grants = _checked(settings, project, caller.robot)
    secret = _secret(secret)
    time = now()
    robot = Robot(
        account_number("robot"),
        project.project_id if project else SYSTEM,
        project.name if project else "",
        name,
        settings.description,
        passwords.hash_password(secret),
        duration,
        _expiry(time, duration),
        settings.disabled,
        grants,
        "robot" if caller.robot else "local",
        caller.robot.number if caller.robot else caller.number,
        time,
        time,
        "",
    )
    if not table.create(robot, _event("create", robot, actor)):
        raise AlreadyExistsError(f"robot {robot.login} already exists")
    accounts.forget(robot.login)
    return robot, secret


def update(caller: Caller, robot: Robot, settings: Settings, actor: Actor = JOBS) -> None:
    """Change a robot's settings. Raises as `create` does, ChangedError, or NotFoundError."""
    project = rules.get_by_id(robot.project_id) if robot.project_id != SYSTEM else None
    grants = _checked(settings, project, caller.robot)

    def change(present: Robot) -> Robot:
        changed = replace(present, description=settings.description, disabled=settings.disabled, grants=grants)
        if settings.duration in (None, present.duration):
            return changed
        duration = settings.duration or present.duration
        return replace(changed, duration=duration, expires=_expiry(present.created, duration))

    _change(robot, change, actor)


def refresh_secret(robot: Robot, secret: str, actor: Actor = JOBS) -> str:
    """Give a robot a new secret, generated if `secret` is empty, and return it. Raises as `update` does."""
    secret = _secret(secret)
    secret_hash = passwords.hash_password(secret)
    _change(robot, lambda present: replace(present, secret_hash=secret_hash), actor)
    return secret


def delete(robot: Robot, actor: Actor = JOBS) -> None:
    """Raises NotFoundError."""
    if not table.delete(robot, _event("delete", robot, actor)):
        raise NotFoundError(f"robot {robot.number} not found")
    accounts.forget(robot.login)


def live_grants(robot: Robot) -> list[Grant]:
    """The robot's grants without those in projects that are gone."""
    return [grant for grant in robot.grants if grant.kind == "system" or _is_live(grant)]


def _is_live(grant: Grant) -> bool:
    project = rules.find(grant.namespace) if grant.project_id != ALL_PROJECTS else None
    return grant.project_id == (project.project_id if project else ALL_PROJECTS)


def _event(operation: str, robot: Robot, actor: Actor) -> Event:
    description = f"{operation} robot: {robot.login}"
    return Event(operation, "robot", robot.login, actor, project_id=robot.project_id, description=description)


def _change(robot: Robot, change: Callable[[Robot], Robot], actor: Actor) -> None:
    for _ in retrying.attempts(retrying.LOW):
        if table.replace(robot, change(robot), _event("update", robot, actor)):
            accounts.forget(robot.login)
            return
        robot = get(robot.number)
    raise ChangedError(f"robot {robot.number} is being changed by others: try again")


def _checked(settings: Settings, project: Project | None, creator: Robot | None) -> tuple[Grant, ...]:
    """The grants with the numbers of their projects, one for a place. Raises as `create` does."""
    if len(settings.description) > _DESCRIPTION_LENGTH:
        raise InvalidError(f"description may have {_DESCRIPTION_LENGTH} characters")
    if settings.duration is not None and settings.duration != NEVER and not 0 < settings.duration < _DURATION_LIMIT:
        raise InvalidError("duration must be either -1(Never) or a positive integer")
    asked = settings.grants
    if not 1 <= len(asked) <= _GRANT_LIMIT:
        raise InvalidError(f"a robot has 1 to {_GRANT_LIMIT} permissions")
    if project is not None and [(grant.kind, grant.namespace) for grant in asked] != [("project", project.name)]:
        raise InvalidError("a robot of a project has one permission, of the kind project, in this project")
    merged: dict[tuple[str, int], Grant] = {}
    for grant in asked:
        _require_known(grant)
        project_id = project.project_id if project else _project_id(grant, creator)
        before = merged.get((grant.kind, project_id))
        access = dict.fromkeys((*(before.access if before else ()), *grant.access))
        merged[grant.kind, project_id] = replace(grant, project_id=project_id, access=tuple(access))
    if creator is not None and any(_exceeds(grant, creator) for grant in merged.values()):
        raise _excess(creator)
    return tuple(merged.values())


def _require_known(grant: Grant) -> None:
    known = _OF_KIND.get(grant.kind)
    if known is None:
        raise InvalidError("the kind of a permission is system or project")
    if grant.kind == "system" and grant.namespace != "/":
        raise InvalidError("the namespace of the system is /")
    if not grant.access:
        raise InvalidError("a permission needs some access")
    for access in grant.access:
        if Permission(access.resource, access.action) not in known:
            raise InvalidError(f"bad request permission: {access.resource[:64]}:{access.action[:64]}")
        if access.effect not in ("allow", "deny"):
            raise InvalidError("the effect of an access is allow or deny")


def _project_id(grant: Grant, creator: Robot | None) -> int:
    if grant.kind == "system":
        return SYSTEM
    if grant.namespace == "*":
        return ALL_PROJECTS
    try:
        if not 1 <= len(grant.namespace) <= rules.NAME_LENGTH:
            raise ProjectNotFoundError("there is no such project")
        return rules.get(grant.namespace).project_id
    except ProjectNotFoundError:
        # A robot must not learn which projects there are from what it may not give.
        if creator is not None:
            raise _excess(creator) from None
        raise


def _exceeds(grant: Grant, creator: Robot) -> bool:
    """Whether `creator` lacks something that the grant gives."""
    given = {Permission(access.resource, access.action) for access in grant.access if access.effect == "allow"}
    return not given <= granted(creator, grant.kind, grant.project_id)


def _excess(creator: Robot) -> NotAllowedError:
    return NotAllowedError(f"the permissions must not exceed those of the creator, {creator.login}")


def _expiry(created: int, duration: int) -> int:
    """In seconds; `created` is in milliseconds."""
    return NEVER if duration == NEVER else created // 1000 + duration * _DAY_SECONDS


def _secret(given: str) -> str:
    """The secret that the client gives, if it follows Harbor's rule, or a new one. Raises InvalidError."""
    if given:
        if len(given) not in _SECRET_LENGTHS or not passwords.is_mixed(given):
            raise InvalidError(
                "the secret must be 8-128, inclusively, characters long with at least 1 uppercase letter, "
                "1 lowercase letter and 1 number"
            )
        return given
    return passwords.generate()
