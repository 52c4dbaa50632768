"""Robots log in with their own name and secret, and may do what they were given and no more."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from urllib.parse import urlencode

import pytest

from chalicelib import project_deletion
from chalicelib.access import accounts, robots, tokens
from chalicelib.access.authentication import Caller, caller_of
from chalicelib.access.authorization import granted, permissions, permits_in_system, visible_projects
from chalicelib.access.errors import ChangedError, InvalidError, NotAllowedError, NotFoundError
from chalicelib.access.roles import Permission
from chalicelib.access.store import robots as table
from chalicelib.access.store.robots import ALL_PROJECTS, NEVER, SYSTEM, Access, Grant, Robot
from chalicelib.events.records import JOBS, Event
from chalicelib.http import Response
from chalicelib.oci.errors import TooManyRequests
from chalicelib.projects import rules
from chalicelib.projects.errors import NotFoundError as ProjectNotFoundError
from chalicelib.v2 import routes
from tests.access.support import basic, bearer, get_token, json_of, post_token, refresh_token_for, request, token_for
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("administrator")

ADMIN = Caller("admin", 1, is_admin=True)
DAY = 86400
Make = Callable[..., tuple[Robot, str]]


def grant(namespace: str, *actions: str, kind: str = "project") -> Grant:
    """`actions` are resource:action, denied when they start with `-`."""
    access = []
    for each in actions:
        resource, _, action = each.removeprefix("-").partition(":")
        access.append(Access(resource, action, "deny" if each.startswith("-") else "allow"))
    return Grant(kind, namespace, SYSTEM, tuple(access))


def settings(*grants: Grant, duration: int | None = NEVER, disabled: bool = False) -> robots.Settings:
    return robots.Settings("", duration, disabled, grants)


def make(
    project: str, *grants: Grant, creator: Caller = ADMIN, secret: str = "", duration: int = NEVER
) -> tuple[Robot, str]:
    """A robot of `project`, or of the system when that is empty."""
    owner = rules.get(project) if project else None
    name = f"bot-{uuid.uuid4().hex[:12]}"
    return robots.create(creator, owner, name, secret, settings(*grants, duration=duration))


def pull(repository: str, headers: dict[str, str]) -> Response:
    return routes.handle(request("GET", f"/v2/{repository}/manifests/latest", headers))


def start_upload(repository: str, headers: dict[str, str]) -> Response:
    return routes.handle(request("POST", f"/v2/{repository}/blobs/uploads/", headers))


def callers(robot: Robot, secret: str) -> Caller:
    account = accounts.verify(robot.login, secret)
    assert account is not None
    return caller_of(account)


@pytest.fixture
def puller(private_project: str) -> tuple[Robot, str]:
    return make(private_project, grant(private_project, "repository:pull"))


def test_names_are_harbors(private_project: str) -> None:
    own, _ = make(private_project, grant(private_project, "repository:pull"))
    system, _ = make("", grant("*", "repository:pull"))
    assert own.login == f"robot${private_project}+{own.name}"
    assert system.login == f"robot${system.name}"
    assert table.read_by_login(own.login) == table.read(own.number)


def test_a_secret_is_generated_by_harbors_rule_and_only_its_hash_is_kept(puller: tuple[Robot, str]) -> None:
    robot, secret = puller
    assert len(secret) == 32
    assert secret.isalnum()
    assert any(map(str.isupper, secret))
    assert any(map(str.islower, secret))
    assert any(map(str.isdigit, secret))
    stored = table.read(robot.number)
    assert stored is not None
    assert stored.secret_hash.startswith("$argon2id$")
    assert secret not in repr(stored)
    assert stored.secret_hash not in repr(stored)
    assert stored.secret_hash not in repr(accounts.find(robot.login))


@pytest.mark.parametrize("secret", ["short1A", "nouppercase1", "NOLOWERCASE1", "NoDigitsHere", "Aa1" + "x" * 126])
def test_a_weak_secret_is_refused(secret: str, private_project: str, puller: tuple[Robot, str]) -> None:
    with pytest.raises(InvalidError):
        make(private_project, grant(private_project, "repository:pull"), secret=secret)
    with pytest.raises(InvalidError):
        robots.refresh_secret(puller[0], secret)


def test_a_given_secret_is_the_one_to_log_in_with(private_project: str) -> None:
    robot, secret = make(private_project, grant(private_project, "repository:pull"), secret="Given-by-client-1")
    assert secret == "Given-by-client-1"
    assert accounts.verify(robot.login, secret)


def test_docker_logs_in_and_gets_what_the_robot_has_of_the_scopes(private_project: str) -> None:
    robot, secret = make(private_project, grant(private_project, "repository:pull"))
    scope = f"repository:{private_project}/app:pull,push,delete"
    assert json_of(get_token(basic(robot.login, secret), scope=[scope]))["scope"] == (
        f"repository:{private_project}/app:pull"
    )
    form = {"grant_type": "password", "username": robot.login, "password": secret, "service": "berth", "scope": scope}
    assert json_of(post_token(urlencode(form)))["scope"] == f"repository:{private_project}/app:pull"
    assert routes.handle(request("GET", "/v2/", basic(robot.login, secret))).status == 200
    assert routes.handle(request("GET", "/v2/", bearer(token_for(basic(robot.login, secret))))).status == 200


@pytest.mark.parametrize("with_token", [True, False])
def test_a_robot_that_pulls_cannot_push_delete_or_reach_other_projects(
    with_token: bool, puller: tuple[Robot, str], private_project: str
) -> None:
    robot, secret = puller
    other = rules.create(f"other-{uuid.uuid4().hex[:8]}", "admin", public=False).name
    push_image(f"{private_project}/app")
    push_image(f"{other}/app")

    def headers(repository: str) -> dict[str, str]:
        credentials = basic(robot.login, secret)
        return bearer(token_for(credentials, f"repository:{repository}:*")) if with_token else credentials

    own = headers(f"{private_project}/app")
    refused = 401 if with_token else 403
    assert pull(f"{private_project}/app", own).status == 200
    assert start_upload(f"{private_project}/app", own).status == refused
    assert routes.handle(request("DELETE", f"/v2/{private_project}/app/manifests/latest", own)).status == refused
    hidden, missing = (pull(name, headers(name)) for name in (f"{other}/app", "no-such-project/app"))
    assert hidden.status == missing.status == refused
    assert hidden.body == missing.body


def test_who_pushes_to_the_own_project_pulls_too(private_project: str) -> None:
    robot, secret = make(private_project, grant(private_project, "repository:push"))
    push_image(f"{private_project}/app")
    headers = basic(robot.login, secret)
    assert start_upload(f"{private_project}/app", headers).status == 202
    assert pull(f"{private_project}/app", headers).status == 200


def test_a_system_robot_reaches_the_projects_it_names(private_project: str, public_project: str) -> None:
    named, _ = make("", grant(private_project, "repository:push"), grant("/", "catalog:read", kind="system"))
    everywhere, _ = make("", grant("*", "repository:delete", "-repository:push", "repository:push"))
    private, public = rules.get(private_project), rules.get(public_project)
    caller = Caller(named.login, robot=named)
    assert permissions(caller, private) == {Permission("repository", "push")}
    assert Permission("repository", "push") not in permissions(caller, public)
    assert Permission("repository", "pull") in permissions(caller, public)
    assert permits_in_system(caller, Permission("catalog", "read"))
    assert not permits_in_system(caller, Permission("robot", "create"))
    assert granted(everywhere, "project", private.project_id) == {Permission("repository", "delete")}
    assert not permits_in_system(Caller(everywhere.login, robot=everywhere), Permission("catalog", "read"))


def test_a_robot_sees_its_own_and_public_projects(private_project: str, public_project: str) -> None:
    robot, _ = make("", grant(public_project, "repository:pull"))
    all_seeing, _ = make("", grant("*", "repository:pull"))
    seen = {project.name for project in visible_projects(Caller(robot.login, robot=robot))}
    assert public_project in seen
    assert private_project not in seen
    assert private_project in {project.name for project in visible_projects(Caller("x", robot=all_seeing))}


def test_grants_of_one_place_are_one(private_project: str) -> None:
    robot, _ = make(
        "",
        grant(private_project, "repository:pull", "repository:pull"),
        grant(private_project, "repository:push", "repository:pull"),
    )
    assert [[access.action for access in each.access] for each in robot.grants] == [["pull", "push"]]


def test_a_disabled_robot_is_refused_at_once_and_may_be_enabled(puller: tuple[Robot, str]) -> None:
    robot, secret = puller
    assert accounts.verify(robot.login, secret)
    pulls = grant(robot.project, "repository:pull")
    robots.update(ADMIN, robot, settings(pulls, disabled=True))
    assert accounts.verify(robot.login, secret) is None
    assert routes.handle(request("GET", "/v2/", basic(robot.login, secret))).status == 401
    assert get_token(basic(robot.login, secret)).status == 401
    robots.update(ADMIN, robots.get(robot.number), settings(pulls))
    assert accounts.verify(robot.login, secret)


def test_an_expired_robot_is_refused_however_warm_the_process(
    private_project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot, secret = make(private_project, grant(private_project, "repository:pull"), duration=2)
    assert robot.expires == robot.created // 1000 + 2 * DAY
    refresh = refresh_token_for(robot.login, secret)
    monkeypatch.setattr(time, "time", lambda: robot.expires - 1)
    assert accounts.verify(robot.login, secret)
    assert tokens.verify_refresh(refresh)
    monkeypatch.setattr(time, "time", lambda: robot.expires)
    assert accounts.verify(robot.login, secret) is None
    assert tokens.verify_refresh(refresh) is None
    robots.update(ADMIN, robot, settings(grant(private_project, "repository:pull"), duration=3))
    assert robots.get(robot.number).expires == robot.expires + DAY
    assert accounts.verify(robot.login, secret)


def test_a_new_secret_voids_the_old_one_and_its_refresh_tokens_at_once(puller: tuple[Robot, str]) -> None:
    robot, old = puller
    refresh = refresh_token_for(robot.login, old)
    form = f"grant_type=refresh_token&refresh_token={refresh}&service=berth"
    assert post_token(form).status == 200
    new = robots.refresh_secret(robot, "")
    assert new != old
    assert accounts.verify(robot.login, old) is None
    assert accounts.verify(robot.login, new)
    assert post_token(form).status == 401


def test_a_refresh_token_gives_what_the_robot_has_now(puller: tuple[Robot, str]) -> None:
    robot, secret = puller
    refresh = refresh_token_for(robot.login, secret)
    robots.update(ADMIN, robot, settings(grant(robot.project, "repository:delete")))
    form = f"grant_type=refresh_token&refresh_token={refresh}&service=berth&scope=repository:{robot.project}/app:*"
    assert json_of(post_token(form))["scope"] == f"repository:{robot.project}/app:delete"


def test_a_deleted_robot_is_nobody(puller: tuple[Robot, str]) -> None:
    robot, secret = puller
    assert accounts.verify(robot.login, secret)
    robots.delete(robot)
    assert accounts.verify(robot.login, secret) is None
    for gone in (lambda: robots.get(robot.number), lambda: robots.delete(robot)):
        with pytest.raises(NotFoundError):
            gone()


def test_the_name_of_a_deleted_robot_is_anothers_without_its_number(puller: tuple[Robot, str]) -> None:
    robot, _ = puller
    robots.delete(robot)
    again, _ = robots.create(
        ADMIN, rules.get(robot.project), robot.name, "", settings(grant(robot.project, "repository:push"))
    )
    assert again.number > robot.number
    assert table.read(robot.number) is None
    assert not table.delete(robot)
    assert table.read(again.number) is not None


def test_a_project_takes_its_robots_along_and_its_name_gives_no_rights(puller: tuple[Robot, str]) -> None:
    robot, secret = puller
    system, _ = make("", grant(robot.project, "repository:pull"), grant("/", "catalog:read", kind="system"))
    accounts.forget(robot.login)
    project_deletion.delete(rules.get(robot.project))
    assert table.read_all(robot.project_id) == []
    assert accounts.verify(robot.login, secret) is None
    assert [each.kind for each in robots.live_grants(system)] == ["system"]
    again = rules.create(robot.project, "admin", public=False)
    assert not permissions(Caller(system.login, robot=system), again)
    assert [each.kind for each in robots.live_grants(system)] == ["system"]


def test_no_robot_is_made_in_a_project_that_is_gone(private_project: str) -> None:
    project = rules.get(private_project)
    project_deletion.delete(project)
    robot, _ = make("", grant("*", "repository:pull"))
    kept = {**robot.__dict__, "number": robot.number + 10**6, "project": project.name, "project_id": project.project_id}
    assert not table.create(Robot(**kept), Event("create", "robot", "late", JOBS))
    with pytest.raises(ProjectNotFoundError):
        make("", grant(private_project, "repository:pull"))


def test_a_robot_that_changes_under_the_hand_is_read_again(puller: tuple[Robot, str]) -> None:
    stale, _ = puller
    pulls = grant(stale.project, "repository:pull")
    robots.update(ADMIN, stale, settings(pulls, disabled=True))
    new = robots.refresh_secret(stale, "")
    present = robots.get(stale.number)
    assert present.disabled
    assert present.grants
    assert accounts.verify(stale.login, new) is None
    robots.update(ADMIN, stale, settings(pulls))
    assert accounts.verify(stale.login, new)


def test_a_robot_that_others_keep_changing_is_given_up_on(
    puller: tuple[Robot, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "replace", lambda *_: False)
    with pytest.raises(ChangedError):
        robots.refresh_secret(puller[0], "")


def test_failed_logins_of_a_robot_slow_down(puller: tuple[Robot, str], monkeypatch: pytest.MonkeyPatch) -> None:
    robot, secret = puller
    present = time.time()
    monkeypatch.setattr(time, "time", lambda: present)  # the first wait is a second
    for attempt in range(5):
        assert accounts.verify(robot.login, f"wrong {attempt}") is None
    with pytest.raises(TooManyRequests):
        accounts.verify(robot.login, secret)


@pytest.mark.parametrize("login", ["robot$", "robot$+", "robot$+a", "robot$a+", "robot$no-such", "robot$no+such"])
def test_a_name_that_is_no_robots_is_nobody(login: str) -> None:
    assert accounts.find(login) is None
    assert accounts.find(login + "x" * 2000) is None


def test_a_robot_that_makes_robots_gives_what_it_has_and_no_more(private_project: str) -> None:
    other = rules.create(f"other-{uuid.uuid4().hex[:8]}", "admin", public=False).name
    own = (grant(private_project, "robot:create", "repository:pull"),)
    caller = callers(*make(private_project, *own))
    made, _ = make(private_project, grant(private_project, "repository:pull"), creator=caller)
    assert (made.creator_type, made.creator_number) == ("robot", caller.robot.number if caller.robot else 0)
    with pytest.raises(NotAllowedError):
        make(private_project, grant(private_project, "repository:push"), creator=caller)

    system = callers(*make("", *own, grant("/", "robot:create", kind="system")))
    make("", grant(private_project, "repository:pull"), creator=system)
    answers = []
    for asked in (
        grant(other, "repository:pull"),
        grant("no-such-project", "repository:pull"),
        grant("*", "repository:pull"),
        grant("/", "catalog:read", kind="system"),
    ):
        with pytest.raises(NotAllowedError) as caught:
            make("", asked, creator=system)
        answers.append(str(caught.value))
    assert len(set(answers)) == 1


def test_what_a_robot_is_denied_in_one_project_it_gives_in_none(private_project: str) -> None:
    robot, secret = make("", grant("*", "repository:pull"), grant(private_project, "-repository:pull"))
    assert granted(robot, "project", ALL_PROJECTS) == frozenset()
    with pytest.raises(NotAllowedError):
        make("", grant("*", "repository:pull"), creator=callers(robot, secret))
