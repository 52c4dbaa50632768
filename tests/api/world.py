"""Everybody who can call the API, and the projects that they call it about."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from chalicelib.access import groups, members, robots, users
from chalicelib.access.authentication import Caller
from chalicelib.access.roles import Permission, Role
from chalicelib.access.store import logins
from chalicelib.access.store import robots as robot_table
from chalicelib.access.store.robots import NEVER, SYSTEM, Access, Grant
from chalicelib.api import operations
from chalicelib.artifacts import labels
from chalicelib.events.records import JOBS, Event
from chalicelib.jobs.records import TASKS, Status, Trigger
from chalicelib.jobs.store import executions, tasks
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from chalicelib.retention.policies import RETENTION
from tests.access.support import BASIC, basic
from tests.api.people import PASSWORD, join, new_user
from tests.api.support import call
from tests.registry.images import push_image

_ADMIN = Caller("admin", 1, is_admin=True)
_OF_GROUPS = (Role.PROJECT_ADMIN, Role.LIMITED_GUEST)
"""The roles that groups have too: by these it shows that a group's role gives what a user's does."""
_ABSENT = "999999999"


@dataclass(frozen=True)
class Place:
    """A project with an image in it. `is_own`: that in which the members have their roles, and robots their rights."""

    project: Project
    is_own: bool
    source: str
    """An image that all who may copy to the project may copy from."""
    _numbers: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{'own' if self.is_own else 'other'} {'public' if self.project.public else 'private'}"

    def path(self, operation: str) -> str:
        """The path of an operation about this project, with nothing there below it but what has a number."""
        path = operation.partition(" ")[2]
        for parameter in ("project_name_or_id", "project_name"):
            path = path.replace(f"{{{parameter}}}", self.project.name)
        for parameter, collection in (("label_id", "labels"), ("robot_id", "robots"), ("id", "retentions")):
            if path.startswith(f"/{collection}/"):
                path = path.replace(f"{{{parameter}}}", str(self._number(collection, operation)))
        if path.startswith("/retentions/") and "{eid}/tasks" in path:
            path = path.replace("{eid}", str(self.task // TASKS)).replace("{tid}", str(self.task))
        path = path.replace("{repository_name}", "none").replace("{reference}", "none")
        while "{" in path:
            path = path.partition("{")[0] + _ABSENT + path.partition("}")[2]
        return path

    @cached_property
    def task(self) -> int:
        """The number of a task of the project's retention policy, carried out long ago."""
        policy = self._number("retentions", "")
        execution = executions.create(RETENTION, policy, Trigger.MANUAL, "admin", {"dry_run": True}, "")
        assert execution is not None
        first = tasks.create(execution.number, 1, [{"repository": f"{self.project.name}/app"}]) - 1
        assert executions.finish(execution, Status.SUCCESS, "")
        return execution.number * TASKS + first

    def _number(self, collection: str, operation: str) -> int:
        if collection not in self._numbers or operation.startswith("DELETE "):
            self._numbers[collection] = _MAKERS[collection](self.project, self._numbers.get(collection))
        return self._numbers[collection]


def missing(place: Place) -> Place:
    """A project that is not there, under a name of the same length."""
    name = uuid.uuid4().hex[: len(place.project.name)]
    absent = replace(place.project, name=name, project_id=int(_ABSENT))
    return Place(absent, is_own=False, source=place.source)


@dataclass(frozen=True)
class Who:
    """Somebody, and what they were given. `is_valid` says whether the credentials are."""

    name: str
    headers: dict[str, str]
    login: str = ""
    role: Role | None = None
    is_admin: bool = False
    is_valid: bool = True
    is_robot: bool = False
    in_system: frozenset[Permission] = frozenset()
    in_own: frozenset[Permission] = frozenset()
    in_all: frozenset[Permission] = frozenset()

    def send(self, method: str, path: str, body: Any) -> Any:
        if not self.is_valid:
            logins.forget(f"name|{self.login}")  # so many refusals would have to wait
        content = None if method in ("GET", "HEAD", "DELETE") else body
        return call(method, path, content, headers=self.headers, admin=False)


@dataclass(frozen=True)
class World:
    places: tuple[Place, ...]
    everybody: tuple[Who, ...]


def new_world() -> World:
    places = tuple(_place(is_own=is_own, public=public) for is_own in (True, False) for public in (False, True))
    own = [place.project for place in places if place.is_own]
    return World(places, (*_people(own), *_robots(own[0])))


def _place(*, is_own: bool, public: bool) -> Place:
    project = rules.create(f"p{uuid.uuid4().hex[:15]}", "admin", public=public)
    digest, _ = push_image(f"{project.name}/app")
    return Place(project, is_own, f"{project.name}/app@{digest}")


def _people(own: Collection[Project]) -> list[Who]:
    people = [Who("anonymous", {}), Who("system admin", BASIC, is_admin=True), _user("user without a role", None, own)]
    people += [_user(role.harbor_name, role, own) for role in Role]
    people += [_user(f"{role.harbor_name} by a group", role, own, by_group=True) for role in _OF_GROUPS]
    gone = _user("deleted user", None, own)
    user = users.find(gone.login)
    assert user is not None
    users.delete(user.number)
    return [*people, replace(gone, is_valid=False)]


def _user(title: str, role: Role | None, own: Collection[Project], *, by_group: bool = False) -> Who:
    name, number = new_user()
    group = groups.create(f"group of {name}", groups.OIDC).number
    join(number, group)
    for project in own if role else ():
        if by_group:
            members.add_group(project, role, group)
        else:
            members.add(project, role, number)
    return Who(title, basic(name, PASSWORD), login=name, role=role)


def _robots(own: Project) -> list[Who]:
    system, project = frozenset(robots.IN_SYSTEM), frozenset(robots.IN_PROJECT)
    little = frozenset({Permission("accessory", "list")})
    made = [
        _robot("robot of the project, with all permissions", own, in_own=project),
        _robot("robot of the project, with hardly any", own, in_own=little),
        _robot("robot of the system, with all permissions", None, in_system=system, in_all=project),
        _robot("robot of the system, with hardly any", None, in_system=frozenset({Permission("audit-log", "list")})),
    ]
    disabled = replace(_robot("disabled robot", own, in_own=project), is_valid=False)
    expired = replace(_robot("expired robot", own, in_own=project), is_valid=False)
    for who, change in ((disabled, {"disabled": True}), (expired, {"expires": int(time.time()) - 1})):
        robot = robot_table.read_by_login(who.login)
        assert robot is not None
        assert robot_table.replace(robot, replace(robot, **change), Event("update", "robot", who.login, JOBS))
    return [*made, disabled, expired]


def _robot(title: str, project: Project | None, **given: frozenset[Permission]) -> Who:
    places = {
        "in_system": ("system", "/"),
        "in_own": ("project", project.name if project else ""),
        "in_all": ("project", "*"),
    }
    grants = [
        Grant(*places[where], SYSTEM, tuple(Access(*permission, "allow") for permission in permissions))
        for where, permissions in given.items()
    ]
    settings = robots.Settings("", NEVER, False, grants)
    robot, secret = robots.create(_ADMIN, project, f"bot-{uuid.uuid4().hex[:12]}", "", settings)
    return Who(title, basic(robot.login, secret), login=robot.login, is_robot=True, **given)


def _label(project: Project, before: int | None) -> int:
    return labels.create(project.project_id, f"label-{uuid.uuid4().hex[:12]}", "", "").number


def _any_robot(project: Project, before: int | None) -> int:
    pull = Grant("project", project.name, SYSTEM, (Access("repository", "pull", "allow"),))
    settings = robots.Settings("", NEVER, False, [pull])
    return robots.create(_ADMIN, project, f"bot-{uuid.uuid4().hex[:12]}", "", settings)[0].number


def _retention(project: Project, before: int | None) -> int:
    if not any((each.method, each.path) == ("POST", "/retentions") for each in operations.registered()):
        return int(_ABSENT)
    rule = {
        "action": "retain",
        "template": "always",
        "params": {},
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    }
    body = {
        "algorithm": "or",
        "rules": [rule],
        "trigger": {"kind": "Schedule", "settings": {"cron": ""}},
        "scope": {"level": "project", "ref": project.project_id},
    }
    if before is not None and call("GET", f"/retentions/{before}").status == 200:
        return before
    response = call("POST", "/retentions", body)
    assert response.status == 201, response.body
    return int(response.headers["Location"].rpartition("/")[2])


_MAKERS = {"labels": _label, "robots": _any_robot, "retentions": _retention}
