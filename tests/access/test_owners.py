"""What was given to an account ends with it, and with what the account was given it for."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from chalicelib import project_deletion
from chalicelib.access import accounts, members, robots, users
from chalicelib.access.authentication import Caller, Owner, authenticate, caller_of
from chalicelib.access.errors import AlreadyExistsError
from chalicelib.access.owners import may_still_push
from chalicelib.access.roles import Role
from chalicelib.access.store.robots import Access, Grant
from chalicelib.access.store.users import User
from chalicelib.bootstrap import bootstrap
from chalicelib.oci.errors import Unauthorized
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from tests.access.support import BASIC, NAME, basic, bearer, request, token_for
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("administrator")

PASSWORD = "Passw0rd-of-a-test"


@pytest.fixture
def project(private_project: str) -> Project:
    return rules.get(private_project)


@pytest.fixture
def user(project: Project) -> User:
    return new_user(f"user-{uuid.uuid4().hex[:12]}", project)


def new_user(name: str, project: Project) -> User:
    user = users.create(name, PASSWORD, f"{uuid.uuid4().hex}@example.com", "A user", "")
    members.add(project, Role.DEVELOPER, user.number)
    return user


def owner_of(user: User) -> Owner:
    return caller_of(accounts.of_user(user)).owner


def is_taken(token: str) -> bool:
    try:
        authenticate(request("GET", "/v2/", bearer(token)))
    except Unauthorized as refused:
        assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
        return False
    return True


def token_of(user: User, project: Project) -> str:
    return token_for(basic(user.username, PASSWORD), f"repository:{project.name}/a:pull,push")


def test_a_token_ends_with_its_user(user: User, project: Project) -> None:
    token = token_of(user, project)
    assert is_taken(token)
    users.delete(user.number)
    assert not is_taken(token)
    new_user(user.username, project)
    assert not is_taken(token)


def test_a_token_ends_with_its_users_password(user: User, project: Project) -> None:
    token = token_of(user, project)
    assert is_taken(token)
    users.set_password(user.number, f"{PASSWORD}-2")
    assert not is_taken(token)


def test_a_token_ends_with_the_administrators_password(project: Project) -> None:
    token = token_for(BASIC, f"repository:{project.name}/a:pull")
    assert is_taken(token)
    bootstrap(NAME, "another")
    assert not is_taken(token)


def test_a_token_ends_when_its_robot_is_disabled_or_gets_a_new_secret(project: Project) -> None:
    grant = Grant("project", project.name, 0, (Access("repository", "pull", "allow"),))
    settings = robots.Settings("", -1, False, (grant,))
    admin = Caller(NAME, 1, is_admin=True)
    robot, secret = robots.create(admin, project, f"bot-{uuid.uuid4().hex[:12]}", "", settings)
    token = token_for(basic(robot.login, secret), f"repository:{project.name}/a:pull")
    assert is_taken(token)
    robots.update(admin, robot, replace(settings, disabled=True))
    assert not is_taken(token)
    robots.update(admin, robots.get(robot.number), settings)
    assert is_taken(token)
    robots.refresh_secret(robots.get(robot.number), "")
    assert not is_taken(token)


def test_nobodys_token_is_taken() -> None:
    assert is_taken(token_for(None))


def test_a_warm_process_reads_nothing_of_a_tokens_owner_and_a_cold_one_reads_once(user: User, project: Project) -> None:
    token = token_of(user, project)
    for budget in ((0, 0, 0), (1, 0, 0), (0, 0, 0)):
        if budget[0]:
            accounts._users.clear()
        with counted() as calls:
            assert is_taken(token)
        assert calls.summary == budget


def test_an_upload_may_go_on_while_its_user_may_push_to_its_project(user: User, project: Project) -> None:
    repository, owner = f"{project.name}/a", owner_of(user)
    assert may_still_push(owner, repository, project.project_id)
    assert not may_still_push(owner, repository, project.project_id + 1)
    assert not may_still_push(Owner("nobody"), repository, project.project_id)
    assert not may_still_push(Owner(), repository, project.project_id)
    (member,) = [each for each in members.list_all(project) if each.entity.number == user.number]
    members.set_role(project, member.number, Role.GUEST)
    assert not may_still_push(owner, repository, project.project_id)
    members.set_role(project, member.number, Role.DEVELOPER)
    assert may_still_push(owner, repository, project.project_id)
    assert not may_still_push(replace(owner, stamp="another"), repository, project.project_id)
    users.delete(user.number)
    assert not may_still_push(owner, repository, project.project_id)
    new_user(user.username, project)
    assert not may_still_push(owner, repository, project.project_id), "another user of the same name"


def test_an_upload_ends_with_its_project_though_another_takes_the_name(project: Project) -> None:
    repository = f"{project.name}/a"
    assert may_still_push(Owner(NAME), repository, project.project_id)
    project_deletion.delete(project)
    assert not may_still_push(Owner(NAME), repository, project.project_id)
    again = rules.create(project.name, "admin", public=False)
    assert not may_still_push(Owner(NAME), repository, project.project_id)
    rules._found.put(project.name, project, 30)  # another process that has not noticed yet
    assert may_still_push(Owner(NAME), repository, again.project_id)


def test_no_user_has_a_name_that_differs_from_anothers_by_case_alone(user: User, project: Project) -> None:
    for name in (NAME.title(), user.username.upper(), user.username.title()):
        with pytest.raises(AlreadyExistsError):
            new_user(name, project)
    users.delete(user.number)
    assert new_user(user.username.upper(), project).username == user.username.upper()
