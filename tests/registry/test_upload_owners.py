"""An upload's address serves the account that began the upload, for as long as that may push: at both doors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from chalicelib.access import accounts, members, memberships, robots, users
from chalicelib.access.authentication import Caller, caller_of
from chalicelib.access.roles import Role
from chalicelib.access.store.robots import Access, Grant, Robot
from chalicelib.bootstrap import bootstrap
from chalicelib.http import Request, Response
from chalicelib.oci import digests, names
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from chalicelib.registry import uploads
from chalicelib.registry.store import uploads as table
from chalicelib.v2 import routes
from chalicelib.v2 import uploads as upload_http
from tests.access.support import NAME, PASSWORD, basic, be_administrator, bearer, token_for
from tests.registry.test_budgets import counted
from tests.v2.upload_paths import Path, RelayPath, random_content, served_relay, stored, upload_of

USER_PASSWORD = "Passw0rd-of-a-test"
ADMIN = Caller(NAME, 1, is_admin=True)

End = Callable[[], object]
"""Takes the right to push away."""


class FunctionDoor:
    """The request function's routes. An upload's address is sent without credentials, as to a relay."""

    def send(
        self, method: str, location: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **query: str
    ) -> Response:
        url = urlsplit(location)
        fields = {"content-length": str(len(body)), **(headers or {})}
        return routes.handle(Request(method, url.path, {**dict(parse_qsl(url.query)), **query}, fields, body))


@pytest.fixture(scope="module")
def relay(cloud: object) -> Iterator[RelayPath]:
    with served_relay() as path:
        yield path


@pytest.fixture(params=["function", "relay"])
def door(request: pytest.FixtureRequest, relay: RelayPath) -> Path:
    return FunctionDoor() if request.param == "function" else relay


@pytest.fixture
def place(project: str) -> Project:
    be_administrator()
    return rules.get(project)


def started(login: str, secret: str, project: Project, *, by_token: bool = True) -> str:
    """The address of an upload, begun with the credentials of `login`."""
    credentials = basic(login, secret)
    if by_token:
        credentials = bearer(token_for(credentials, f"repository:{project.name}/app:pull,push"))
    answer = FunctionDoor().send("POST", f"/v2/{project.name}/app/blobs/uploads/", headers=credentials)
    assert answer.status == 202, answer.body
    return answer.headers["Location"]


def user_who_loses(right: str) -> Callable[[Project], tuple[str, str, End]]:
    def make(project: Project) -> tuple[str, str, End]:
        name = f"user{os.urandom(6).hex()}"
        user = users.create(name, USER_PASSWORD, f"{name}@example.com", "A user", "")
        member = members.add(project, Role.DEVELOPER, user.number)
        ends: dict[str, End] = {
            "account": lambda: users.delete(user.number),
            "password": lambda: users.set_password(user.number, f"{USER_PASSWORD}-2"),
            "membership": lambda: members.remove(project, member.number),
            "role": lambda: members.set_role(project, member.number, Role.GUEST),
        }
        return name, USER_PASSWORD, ends[right]

    return make


def remember(login: str, robot: Robot) -> None:
    account = accounts.find(login)
    assert account is not None
    accounts._users.put(login, replace(account, robot=robot), 30)


def robot_that(end: str) -> Callable[[Project], tuple[str, str, End]]:
    def make(project: Project) -> tuple[str, str, End]:
        access = tuple(Access("repository", action, "allow") for action in ("pull", "push"))
        settings = robots.Settings("", 1, False, (Grant("project", project.name, 0, access),))
        robot, secret = robots.create(ADMIN, project, f"bot{os.urandom(6).hex()}", "", settings)
        pull_only = replace(settings, grants=(Grant("project", project.name, 0, access[:1]),))
        ends: dict[str, End] = {
            "is disabled": lambda: robots.update(ADMIN, robot, replace(settings, disabled=True)),
            "is deleted": lambda: robots.delete(robot),
            "has a new secret": lambda: robots.refresh_secret(robot, ""),
            "has expired": lambda: remember(robot.login, replace(robot, expires=int(time.time()) - 1)),
            "may only pull": lambda: robots.update(ADMIN, robot, pull_only),
        }
        return robot.login, secret, ends[end]

    return make


def administrator_with_another_password(_project: Project) -> tuple[str, str, End]:
    return NAME, PASSWORD, lambda: bootstrap(NAME, "another")


OWNERS = {
    **{f"a user loses the {right}": user_who_loses(right) for right in ("account", "password", "membership", "role")},
    **{
        f"a robot {end}": robot_that(end)
        for end in ("is disabled", "is deleted", "has a new secret", "has expired", "may only pull")
    },
    "the administrator has another password": administrator_with_another_password,
}


@pytest.mark.parametrize("name", OWNERS)
def test_an_upload_ends_with_its_owners_right_to_push(door: Path, place: Project, name: str) -> None:
    login, secret, end = OWNERS[name](place)
    location = started(login, secret, place)
    renewed = door.send("PATCH", location, b"abc")
    assert renewed.status == 202
    end()
    content, digest = random_content(10)
    for method, address, body, query in (
        ("PATCH", renewed.headers["Location"], b"def", {}),
        ("PATCH", location, b"def", {}),
        ("PUT", location, content, {"digest": digest}),
        ("GET", location, b"", {}),
        ("DELETE", location, b"", {}),
    ):
        refused = door.send(method, address, body, **query)
        assert (refused.status, b"BLOB_UPLOAD_UNKNOWN" in refused.body) == (404, True), method
    session = table.read(upload_of(location))
    assert session is not None
    assert session.offset == 3
    assert stored(session.repository, digest) is None


@pytest.mark.parametrize("by_token", [True, False])
def test_an_upload_begun_with_a_token_or_a_password_has_the_same_owner(
    door: Path, place: Project, by_token: bool
) -> None:
    login, secret, end = user_who_loses("password")(place)
    location = started(login, secret, place, by_token=by_token)
    content, digest = random_content(10)
    location = door.send("PATCH", location, content).headers["Location"]
    assert door.send("PUT", location, digest=digest).status == 201
    end()
    assert door.send("PUT", location, digest=digest).status == 404


def test_whoever_has_the_owners_name_next_does_not_get_the_upload(door: Path, place: Project) -> None:
    login, secret, end = user_who_loses("account")(place)
    location = started(login, secret, place)
    end()
    user = users.create(login, USER_PASSWORD, f"{os.urandom(6).hex()}@example.com", "Another", "")
    members.add(place, Role.DEVELOPER, user.number)
    assert door.send("PATCH", location, b"abc").status == 404


@pytest.mark.parametrize("right", ["account", "membership"])
def test_a_process_that_has_not_noticed_yet_publishes_nothing(door: Path, place: Project, right: str) -> None:
    """What is remembered for half a minute lets bytes in, and no blob out."""
    login, secret, end = user_who_loses(right)(place)
    location = started(login, secret, place)
    content, digest = random_content(10)
    assert door.send("PATCH", location, content).status == 202
    account, project_id = accounts.find(login), place.project_id
    assert account is not None
    roles = memberships.roles_of(caller_of(account).entities, place)
    end()
    accounts._users.put(login, account, 30)
    memberships._roles.put((caller_of(account).entities, project_id, memberships._changes[project_id]), roles, 30)
    assert door.send("GET", location).status == 204
    assert door.send("PUT", location, digest=digest).status == 404
    assert stored(f"{place.name}/app", digest) is None


def test_a_long_upload_asks_for_its_owner_when_it_ends_and_not_for_each_chunk(door: Path, place: Project) -> None:
    login, secret, _ = user_who_loses("account")(place)
    location = started(login, secret, place)
    content, digest = random_content(30)
    location = door.send("PATCH", location, content[:10]).headers["Location"]

    def asked(method: str, body: bytes = b"", **query: str) -> tuple[int, Response]:
        with counted() as calls:
            answer = door.send(method, location, body, **query)
        return calls.summary[0], answer

    for chunk in (content[10:20], content[20:]):
        reads, answer = asked("PATCH", chunk)
        assert answer.status == 202
        assert reads == 1, "the session"
        location = answer.headers["Location"]
    of_user, answer = asked("PUT", digest=digest)
    assert answer.status == 201
    location = started(NAME, PASSWORD, place)
    of_administrator, answer = asked("PUT", content[:10], digest=digests.of(content[:10]))
    assert answer.status == 201
    assert of_user - of_administrator == 2, "the user and the user's role; the administrator's account is remembered"


def test_who_goes_on_with_credentials_owns_what_follows(place: Project) -> None:
    """As distribution has it, where each request is authorised by itself."""
    login, secret, end = user_who_loses("account")(place)
    location = started(login, secret, place)
    own = urlsplit(location).path
    end()
    renewed = FunctionDoor().send("PATCH", own, b"abc", basic(NAME, PASSWORD))
    assert renewed.status == 202
    assert FunctionDoor().send("PATCH", location, b"def").status == 404
    assert FunctionDoor().send("PATCH", renewed.headers["Location"], b"def").status == 202


def test_without_a_caller_and_without_a_state_nothing_is_let_in(place: Project) -> None:
    repository = f"{place.name}/app"
    path = f"/v2/{repository}/blobs/uploads/{uploads.start(repository).id}"
    request = Request("PATCH", path, headers={"content-length": "1"}, body=b"x")
    with pytest.raises(upload_http.BlobUploadUnknown):
        upload_http.handle(request, names.parse_path(path), None)


def test_a_session_of_no_project_is_unknown(door: Path, place: Project) -> None:
    """As an older version could have started one: whose project it is, nobody can tell."""
    location = started(NAME, PASSWORD, place)
    session = table.read(upload_of(location))
    assert session is not None
    assert table.write(session, replace(session, project_id=0)) is not None
    assert door.send("PATCH", location, b"abc").status == 404
    with pytest.raises(uploads.NameUnknown):
        uploads.start("no-such-project/app")
