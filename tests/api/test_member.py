"""Members and settings of projects through Harbor's API."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.http import Response
from chalicelib.projects.store import members as table
from tests.access.support import BASIC, basic, bearer, token_for
from tests.api.support import call

pytestmark = pytest.mark.usefixtures("administrator")

PASSWORD = "Passw0rd-of-a-test"


def ok(response: Response, status: int = 200) -> Any:
    assert response.status == status, response.body
    return json.loads(response.body) if response.body else None


@pytest.fixture
def make_user() -> Callable[[], tuple[str, int]]:
    def make() -> tuple[str, int]:
        name = f"user-{uuid.uuid4().hex[:12]}"
        body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com", "realname": "A user"}
        response = call("POST", "/users", body)
        assert response.status == 201, response.body
        return name, int(response.headers["Location"].rpartition("/")[2])

    return make


MakeUser = Callable[[], tuple[str, int]]


def as_user(method: str, url: str, name: str, body: Any = None) -> Response:
    return call(method, url, body, headers=basic(name, PASSWORD), admin=False)


def add(project: str, name: str, role: int) -> int:
    response = call("POST", f"/projects/{project}/members", {"role_id": role, "member_user": {"username": name}})
    assert response.status == 201, response.body
    return int(response.headers["Location"].rpartition("/")[2])


def test_a_member_is_added_found_changed_and_removed(project: str, make_user: MakeUser) -> None:
    name, number = make_user()
    mid = add(project, name, 3)
    member = ok(call("GET", f"/projects/{project}/members/{mid}"))
    assert (member["entity_name"], member["entity_id"], member["role_name"]) == (name, number, "guest")
    assert ok(call("GET", f"/projects/{project}/members?entityname={name}")) == [member]
    assert call("PUT", f"/projects/{project}/members/{mid}", {"role_id": 4}).status == 200
    assert ok(call("GET", f"/projects/{project}/members/{mid}"))["role_name"] == "maintainer"
    assert ok(call("GET", f"/projects/{project}/summary"))["maintainer_count"] == 1
    assert call("DELETE", f"/projects/{project}/members/{mid}").status == 200
    for method in ("GET", "DELETE"):
        assert call(method, f"/projects/{project}/members/{mid}").status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"role_id": 2}, 400),
        ({"member_user": {"username": "admin"}}, 400),
        ({"role_id": 9, "member_user": {"username": "admin"}}, 400),
        ({"role_id": "2", "member_user": {"username": "admin"}}, 400),
        ({"role_id": 2, "member_user": "admin"}, 400),
        ({"role_id": 2, "member_user": {"user_id": 2**40}}, 400),
        ({"role_id": 2, "member_user": {"username": "nobody-of-this-name"}}, 404),
        ({"role_id": 2, "member_user": {"username": 7}}, 400),
        ({"role_id": 2, "member_group": {"group_name": "g"}}, 400),
        ({"role_id": 2, "member_user": {"username": "admin"}}, 409),
    ],
)
def test_a_wrong_member_is_refused(project: str, body: dict[str, Any], status: int) -> None:
    assert call("POST", f"/projects/{project}/members", body).status == status


def test_who_makes_a_project_is_its_admin(make_user: MakeUser) -> None:
    name, _ = make_user()
    project = f"own-{uuid.uuid4().hex[:8]}"
    assert as_user("POST", "/projects", name, {"project_name": project}).status == 201
    shown = ok(as_user("GET", f"/projects/{project}", name))
    assert (shown["owner_name"], shown["current_user_role_id"]) == (name, 1)
    assert as_user("PUT", f"/projects/{project}", name, {"metadata": {"public": "true"}}).status == 200
    assert ok(call("GET", f"/projects/{project}", admin=False))["metadata"]["public"] == "true"
    assert ok(as_user("GET", f"/projects/{project}/_deletable", name)) == {"deletable": True}
    assert as_user("DELETE", f"/projects/{project}", name).status == 200


def test_a_member_sees_a_private_project_until_removed(project: str, make_user: MakeUser) -> None:
    name, number = make_user()
    mid = add(project, name, 5)
    assert as_user("GET", f"/projects/{project}", name).status == 200
    assert project in {each["name"] for each in ok(as_user("GET", f"/projects?name={project}", name))}
    assert as_user("HEAD", f"/projects?project_name={project}", name).status == 200
    assert as_user("GET", f"/projects/{project}/members", name).status == 403
    assert call("DELETE", f"/projects/{project}/members/{mid}").status == 200
    assert as_user("GET", f"/projects/{project}", name).status == 403
    assert ok(as_user("GET", f"/projects?name={project}", name)) == []
    assert as_user("HEAD", f"/projects?project_name={project}", name).status == 404
    assert table.projects_of(table.Entity("user", number)) == []


def test_a_project_takes_its_memberships_with_it(project: str, make_user: MakeUser) -> None:
    name, number = make_user()
    add(project, name, 2)
    project_id = ok(call("GET", f"/projects/{project}"))["project_id"]
    assert call("DELETE", f"/projects/{project}").status == 200
    assert table.projects_of(table.Entity("user", number)) == []
    assert table.read_all(project_id) == []


OPERATIONS = [
    ("GET", ""),
    ("PUT", ""),
    ("DELETE", ""),
    ("GET", "/_deletable"),
    ("GET", "/summary"),
    ("GET", "/members"),
    ("POST", "/members"),
    ("GET", "/members/1"),
    ("PUT", "/members/1"),
    ("DELETE", "/members/1"),
    ("GET", "/metadatas/"),
    ("POST", "/metadatas/"),
    ("GET", "/metadatas/public"),
    ("PUT", "/metadatas/public"),
    ("DELETE", "/metadatas/public"),
]


@pytest.mark.parametrize(("method", "rest"), OPERATIONS)
def test_who_may_not_see_a_project_cannot_tell_it_from_a_missing_one(
    project: str, make_user: MakeUser, method: str, rest: str
) -> None:
    name, _ = make_user()
    token = bearer(token_for(BASIC, f"repository:{project}/app:pull"))
    number = ok(call("GET", f"/projects/{project}"))["project_id"]
    for headers, status in ((None, 401), (token, 403), (basic(name, PASSWORD), 403)):
        answers = [
            call(method, f"/projects/{each}{rest}", {"role_id": 1}, admin=False, headers=headers)
            for each in (project, number, "no-such-project", 999999999)
        ]
        assert {answer.status for answer in answers} == {status}
        assert len({answer.body for answer in answers}) == 1


def test_settings_are_added_changed_and_taken_away(project: str) -> None:
    where = f"/projects/{project}/metadatas"
    assert ok(call("GET", f"{where}/")) == {"public": "false"}
    assert call("POST", f"{where}/", {"auto_scan": "true"}).status == 200
    assert call("POST", f"{where}/", {"auto_scan": "false"}).status == 409
    assert ok(call("GET", f"{where}/auto_scan")) == {"auto_scan": "true"}
    assert call("PUT", f"{where}/auto_scan", {"auto_scan": "false"}).status == 200
    assert call("PUT", f"{where}/auto_scan", {"public": "true"}).status == 400
    assert call("PUT", f"{where}/severity", {"severity": "high"}).status == 404
    assert call("PUT", f"/projects/{project}", {"metadata": {"severity": "high"}}).status == 200
    assert ok(call("GET", f"/projects/{project}"))["metadata"] == {
        "public": "false",
        "auto_scan": "false",
        "severity": "high",
    }
    assert call("DELETE", f"{where}/severity").status == 200
    assert call("GET", f"{where}/severity").status == 404


@pytest.mark.parametrize(
    "settings",
    [
        {"auto_scan": "yes"},
        {"auto_scan": True},
        {"severity": "awful"},
        {"prevent_vul": "yes"},
        {"enable_content_trust": True},
        {"proxy_speed_kb": "fast"},
        {"proxy_speed_kb": "99999999999"},
        {"max_upstream_conn": "0"},
        {"max_upstream_conn": 5},
        {"unknown": "true"},
        {"auto_scan": "true", "severity": "low"},
        {},
    ],
)
def test_a_setting_that_is_none_is_refused(project: str, settings: dict[str, Any]) -> None:
    assert call("POST", f"/projects/{project}/metadatas/", settings).status == 400
    assert ok(call("GET", f"/projects/{project}/metadatas/")) == {"public": "false"}


@pytest.mark.parametrize(
    "setting",
    [
        *({name: "true"} for name in ("enable_content_trust", "enable_content_trust_cosign", "prevent_vul")),
        *({name: "true"} for name in ("auto_sbom_generation", "reuse_sys_cve_allowlist", "proxy_referrer_api")),
        {"proxy_speed_kb": "-1"},
        {"max_upstream_conn": "30"},
    ],
)
def test_every_setting_of_harbors_is_kept(project: str, setting: dict[str, str]) -> None:
    assert call("POST", f"/projects/{project}/metadatas/", setting).status == 200
    assert ok(call("GET", f"/projects/{project}/metadatas/")) == {"public": "false", **setting}
