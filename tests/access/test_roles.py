"""Each role and each permission, in the own and another project, public and private: allowed where Harbor allows it."""

from __future__ import annotations

import uuid
from itertools import product

import pytest

from chalicelib.access import members, roles, users
from chalicelib.access.authentication import ANONYMOUS, Caller, authenticate
from chalicelib.access.authorization import permissions, permitted
from chalicelib.access.roles import Permission, Role
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from tests.access.support import basic, bearer, request, token_for

pytestmark = pytest.mark.usefixtures("administrator")

PASSWORD = "Passw0rd-of-a-test"

_ANYONE_IN_A_PUBLIC_PROJECT = """
    accessory:list artifact:list artifact:read artifact-addition:read label:list label:read project:read
    repository:list repository:pull scan:read scanner:read tag:list
"""
_LIMITED_GUEST = """
    accessory:list artifact:list artifact:read artifact-addition:read configuration:read project:read quota:read
    repository:list repository:pull repository:read sbom:read scan:read scanner:read tag:list
"""
_GUEST = f"{_LIMITED_GUEST} label:list label:read member:list member:read robot:list robot:read"
_DEVELOPER = f"""{_GUEST}
    artifact:create artifact-label:create artifact-label:delete export-cve:create export-cve:list export-cve:read
    repository:create repository:push repository:update tag:create
    tag-retention:create tag-retention:delete tag-retention:list tag-retention:operate tag-retention:read
    tag-retention:update
"""
_MAINTAINER = f"""{_DEVELOPER}
    artifact:delete immutable-tag:create immutable-tag:delete immutable-tag:list immutable-tag:update
    label:create label:delete label:update metadata:read notification-policy:list notification-policy:read
    repository:delete sbom:create sbom:stop scan:create scan:stop tag:delete
"""
_PROJECT_ADMIN = f"""{_MAINTAINER}
    configuration:update log:list member:create member:delete member:update
    metadata:create metadata:delete metadata:list metadata:update
    notification-policy:create notification-policy:delete notification-policy:update
    preheat-policy:create preheat-policy:delete preheat-policy:list preheat-policy:read preheat-policy:update
    project:delete project:update robot:create robot:delete robot:update scanner:create
"""


def parsed(text: str) -> frozenset[Permission]:
    return frozenset(Permission(*word.split(":")) for word in text.split())


EXPECTED = {
    Role.LIMITED_GUEST: parsed(_LIMITED_GUEST),
    Role.GUEST: parsed(_GUEST),
    Role.DEVELOPER: parsed(_DEVELOPER),
    Role.MAINTAINER: parsed(_MAINTAINER),
    Role.PROJECT_ADMIN: parsed(_PROJECT_ADMIN),
}
ANYONE = parsed(_ANYONE_IN_A_PUBLIC_PROJECT)
PROTOCOL = {
    Role.LIMITED_GUEST: {"pull"},
    Role.GUEST: {"pull"},
    Role.DEVELOPER: {"pull", "push"},
    Role.MAINTAINER: {"pull", "push", "delete"},
    Role.PROJECT_ADMIN: {"pull", "push", "delete"},
}


def new_user() -> Caller:
    name = f"user-{uuid.uuid4().hex[:12]}"
    user = users.create(name, PASSWORD, f"{name}@example.com", "A user", "")
    return Caller(name, user.number)


def new_project(*, public: bool) -> Project:
    return rules.create(f"roles-{uuid.uuid4().hex[:12]}", "admin", public=public)


@pytest.mark.parametrize(("role", "public"), list(product(Role, (True, False))))
def test_a_member_may_do_what_the_role_says_in_the_project_and_nothing_elsewhere(role: Role, public: bool) -> None:
    caller, own, other = new_user(), new_project(public=public), new_project(public=public)
    members.add(own, role, caller.number)
    anyone = ANYONE if public else frozenset()
    assert permissions(caller, own) == EXPECTED[role] | anyone
    assert permissions(caller, other) == anyone
    assert permitted(caller, f"{own.name}/app") == PROTOCOL[role]
    assert permitted(caller, f"{other.name}/app") == ({"pull"} if public else set())


@pytest.mark.parametrize("public", [True, False])
def test_who_is_no_member_may_do_what_anyone_may(public: bool) -> None:
    project = new_project(public=public)
    for caller in (ANONYMOUS, new_user(), Caller("admin", grants={})):
        assert permissions(caller, project) == (ANYONE if public else frozenset())
        assert permitted(caller, f"{project.name}/app") == ({"pull"} if public else set())


@pytest.mark.parametrize("public", [True, False])
def test_the_system_administrator_may_do_everything(public: bool) -> None:
    project = new_project(public=public)
    assert permissions(Caller("admin", 1, is_admin=True), project) == roles.ALL
    assert frozenset().union(*EXPECTED.values(), ANYONE) == roles.ALL


@pytest.mark.parametrize("role", Role)
def test_a_token_gives_what_the_role_gives(role: Role) -> None:
    caller, project = new_user(), new_project(public=False)
    members.add(project, role, caller.number)
    repository = f"{project.name}/app"
    token = token_for(basic(caller.name, PASSWORD), f"repository:{repository}:pull,push,delete")
    grants = authenticate(request("GET", "/v2/", bearer(token))).grants
    assert {name: grant.actions for name, grant in (grants or {}).items()} == {repository: PROTOCOL[role]}


def test_a_role_that_is_changed_or_taken_away_counts_at_once() -> None:
    caller, project = new_user(), new_project(public=False)
    member = members.add(project, Role.GUEST, caller.number)
    assert permissions(caller, project) == EXPECTED[Role.GUEST]
    members.set_role(project, member.number, Role.MAINTAINER)
    assert permissions(caller, project) == EXPECTED[Role.MAINTAINER]
    members.remove(project, member.number)
    assert permissions(caller, project) == frozenset()


def test_a_deleted_users_roles_are_nobodys() -> None:
    caller, project = new_user(), new_project(public=False)
    members.add(project, Role.DEVELOPER, caller.number)
    users.delete(caller.number)
    assert caller.name not in {member.name for member in members.list_all(project)}
    again = users.create(caller.name, PASSWORD, f"{caller.name}@example.com", "Another", "")
    assert permissions(Caller(again.username, again.number), project) == frozenset()
