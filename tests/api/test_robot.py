"""Robots through Harbor's API."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.access import accounts
from chalicelib.http import Response
from tests.access.support import BASIC, basic, bearer, get_token, json_of, token_for
from tests.api.support import call, errors_of

pytestmark = pytest.mark.usefixtures("administrator")

PASSWORD = "Passw0rd-of-a-test"
PULL = {"resource": "repository", "action": "pull"}
PUSH = {"resource": "repository", "action": "push"}


def ok(response: Response, status: int = 200) -> Any:
    assert response.status == status, response.body
    return json.loads(response.body) if response.body else None


def make_project() -> tuple[str, int]:
    name = f"team-{uuid.uuid4().hex[:12]}"
    location = call("POST", "/projects", {"project_name": name}).headers["Location"]
    return name, int(location.rpartition("/")[2])


def make_user(project: str = "", role: int = 0) -> dict[str, str]:
    """A user with a role in `project`, if that is named; returns the headers to ask as."""
    name = f"user-{uuid.uuid4().hex[:12]}"
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com", "realname": "A user"}
    assert call("POST", "/users", body).status == 201
    if project:
        member = {"role_id": role, "member_user": {"username": name}}
        assert call("POST", f"/projects/{project}/members", member).status == 201
    return basic(name, PASSWORD)


def project_robot(project: str, *access: dict[str, str], **more: Any) -> dict[str, Any]:
    permissions = [{"kind": "project", "namespace": project, "access": list(access or (PULL,))}]
    name = f"bot-{uuid.uuid4().hex[:12]}"
    return {"name": name, "level": "project", "duration": -1, "permissions": permissions, **more}


def system_robot(*access: dict[str, str], namespace: str = "*", kind: str = "project", **more: Any) -> dict[str, Any]:
    permissions = [{"kind": kind, "namespace": namespace, "access": list(access or (PULL,))}]
    return {**project_robot(""), "level": "system", "permissions": permissions, **more}


def create(body: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
    """What Harbor answers: id, name, secret, and when it was made and expires."""
    created: dict[str, Any] = ok(as_caller("POST", "/robots", headers or BASIC, body), 201)
    return created


def as_caller(method: str, url: str, headers: dict[str, str], body: Any = None) -> Response:
    return call(method, url, body, headers=headers, admin=False)


def as_robot(created: dict[str, Any]) -> dict[str, str]:
    return basic(created["name"], created["secret"])


def names(url: str, headers: dict[str, str] = BASIC) -> list[str]:
    return [robot["name"] for robot in ok(as_caller("GET", url, headers))]


def test_a_robot_of_a_project_is_made_shown_and_deleted() -> None:
    project, _ = make_project()
    body = project_robot(project, PULL, PUSH, description="builds", duration=30)
    response = call("POST", "/robots", body)
    created = ok(response, 201)
    assert response.headers["Location"] == f"/api/v2.0/robots/{created['id']}"
    assert created["name"] == f"robot${project}+{body['name']}"
    assert len(created["secret"]) == 32
    robot = ok(call("GET", f"/robots/{created['id']}"))
    expected = {
        "id": created["id"],
        "name": created["name"],
        "description": "builds",
        "level": "project",
        "duration": 30,
        "editable": True,
        "disable": False,
        "expires_at": created["expires_at"],
        "permissions": [
            {
                "kind": "project",
                "namespace": project,
                "access": [{**PULL, "effect": "allow"}, {**PUSH, "effect": "allow"}],
            }
        ],
        "creator_type": "local",
        "creator_ref": 1,
    }
    assert expected.items() <= robot.items()
    assert "secret" not in robot
    assert call("DELETE", f"/robots/{created['id']}").status == 200
    for method in ("GET", "DELETE"):
        assert call(method, f"/robots/{created['id']}").status == 404
    assert as_caller("GET", "/projects", as_robot(created)).status == 401


def test_a_secret_is_shown_once_and_no_answer_holds_its_hash() -> None:
    project, number = make_project()
    created = create(project_robot(project))
    for url in (f"/robots/{created['id']}", f"/robots?q=Level=project,ProjectID={number}"):
        body = call("GET", url).body.decode()
        assert created["secret"] not in body
        assert "argon2" not in body


def test_a_robot_of_the_system_has_permissions_of_both_kinds() -> None:
    catalog = {"kind": "system", "namespace": "/", "access": [{"resource": "catalog", "action": "read"}]}
    body = system_robot()
    body["permissions"].append(catalog)
    robot = ok(call("GET", f"/robots/{create(body)['id']}"))
    assert robot["level"] == "system"
    assert robot["expires_at"] == -1
    assert [(each["kind"], each["namespace"]) for each in robot["permissions"]] == [("project", "*"), ("system", "/")]


def test_a_name_is_one_robots_in_its_project() -> None:
    project, _ = make_project()
    other, _ = make_project()
    body = project_robot(project)
    create(body)
    response = call("POST", "/robots", body)
    assert (response.status, errors_of(response)) == (409, ["CONFLICT"])
    create({**project_robot(other), "name": body["name"]})
    create({**system_robot(), "name": body["name"]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "Upper"},
        {"name": "a+b"},
        {"name": "a b"},
        {"name": "x" * 256},
        {"name": 5},
        {"name": None},
        {"level": "world"},
        {"level": None},
        {"level": []},
        {"duration": 0},
        {"duration": -2},
        {"duration": 2**31},
        {"duration": "30"},
        {"duration": 1.5},
        {"duration": True},
        {"disable": "yes"},
        {"description": 5},
        {"description": "x" * 1025},
        {"secret": "weak"},
        {"secret": 12345678},
        {"permissions": None},
        {"permissions": []},
        {"permissions": {}},
        {"permissions": ["all"]},
    ],
)
def test_a_malformed_robot_is_a_bad_request(wrong: dict[str, Any]) -> None:
    project, _ = make_project()
    for body in (project_robot(project), system_robot()):
        response = call("POST", "/robots", {**body, **wrong})
        assert (response.status, errors_of(response)) == (400, ["BAD_REQUEST"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "world"},
        {"kind": None},
        {"namespace": 5},
        {"namespace": None},
        {"access": None},
        {"access": []},
        {"access": ["pull"]},
        {"access": [{"resource": "repository", "action": "*"}]},
        {"access": [{"resource": "*", "action": "pull"}]},
        {"access": [{"resource": "repository", "action": 5}]},
        {"access": [{"resource": "repository"}]},
        {"access": [{"resource": "catalog", "action": "read"}]},
        {"access": [{"resource": "robot", "action": "update"}]},
        {"access": [{**PULL, "effect": "maybe"}]},
        {"kind": "system"},
        {"kind": "system", "namespace": "/"},
    ],
)
def test_a_malformed_permission_is_a_bad_request(wrong: dict[str, Any]) -> None:
    project, _ = make_project()
    for body in (project_robot(project), system_robot()):
        body["permissions"] = [{**body["permissions"][0], **wrong}]
        response = call("POST", "/robots", body)
        assert (response.status, errors_of(response)) == (400, ["BAD_REQUEST"])


def test_a_robot_of_a_project_has_permissions_there_only() -> None:
    project, _ = make_project()
    other, _ = make_project()
    body = project_robot(project)
    for more in (project_robot(other), system_robot()):
        both = {**body, "permissions": [*body["permissions"], *more["permissions"]]}
        assert call("POST", "/robots", both).status == 400
    assert call("POST", "/robots", project_robot("*")).status == 404
    created = create(body)
    moved = {**body, "name": created["name"], "permissions": project_robot(other)["permissions"]}
    assert call("PUT", f"/robots/{created['id']}", moved).status == 400


@pytest.mark.parametrize("namespace", ["no-such-project", "x" * 3000])
def test_a_missing_project_is_not_found_by_the_administrator(namespace: str) -> None:
    assert call("POST", "/robots", system_robot(namespace=namespace)).status == 404
    assert call("POST", "/robots", project_robot(namespace)).status in (400, 404)


def test_a_project_admin_has_the_projects_robots_and_no_others() -> None:
    project, number = make_project()
    other, other_number = make_project()
    admin = make_user(project, 1)
    created = create(project_robot(project), admin)
    url = f"/robots/{created['id']}"
    body = {**project_robot(project, PUSH), "name": created["name"]}
    assert names(f"/robots?q=Level=project,ProjectID={number}", admin) == [created["name"]]
    assert ok(as_caller("GET", url, admin))["creator_type"] == "local"
    assert as_caller("PUT", url, admin, body).status == 200
    assert as_caller("PATCH", url, admin, {}).status == 200

    for stranger in (make_user(other, 1), make_user()):
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            hidden, missing = (
                as_caller(method, f"/robots/{each}", stranger, body if method in ("PUT", "PATCH") else None)
                for each in (created["id"], 999999999)
            )
            assert hidden.status == missing.status == 404
        refusals = [
            as_caller("POST", "/robots", stranger, asked)
            for asked in (project_robot(project), project_robot("no-such-project"), system_robot())
        ]
        refusals += [
            as_caller("GET", f"/robots{query}", stranger)
            for query in ("", f"?q=Level=project,ProjectID={number}", "?q=Level=project,ProjectID=999999999")
        ]
        assert {answer.status for answer in refusals} == {403}
        assert len({answer.body for answer in refusals}) == 1
    assert as_caller("POST", "/robots", admin, system_robot()).status == 403
    assert as_caller("GET", f"/robots?q=Level=project,ProjectID={other_number}", admin).status == 403
    assert as_caller("DELETE", url, admin).status == 200


@pytest.mark.parametrize("role", [2, 3, 4])
def test_other_members_see_robots_and_change_none(role: int) -> None:
    project, number = make_project()
    created = create(project_robot(project))
    member = make_user(project, role)
    url = f"/robots/{created['id']}"
    assert names(f"/robots?q=Level=project,ProjectID={number}", member) == [created["name"]]
    assert ok(as_caller("GET", url, member))["name"] == created["name"]
    assert as_caller("POST", "/robots", member, project_robot(project)).status == 403
    assert as_caller("PUT", url, member, project_robot(project)).status == 403
    assert as_caller("PATCH", url, member, {}).status == 403
    assert as_caller("DELETE", url, member).status == 403


def test_nobody_and_who_bears_a_token_are_refused() -> None:
    project, number = make_project()
    created = create(project_robot(project))
    token = bearer(token_for(BASIC, f"repository:{project}/a:pull,push"))
    for headers, status in (({}, 401), (token, 403)):
        for robot in (created["id"], 999999999):
            for method, body in (("GET", None), ("PUT", {}), ("PATCH", {}), ("DELETE", None)):
                assert as_caller(method, f"/robots/{robot}", headers, body).status == status
        assert as_caller("POST", "/robots", headers, project_robot(project)).status == status
        assert as_caller("GET", f"/robots?q=Level=project,ProjectID={number}", headers).status == status


def test_a_robot_is_changed() -> None:
    project, _ = make_project()
    body = project_robot(project, duration=10)
    created = create(body)
    url = f"/robots/{created['id']}"
    changed = {**project_robot(project, PUSH), "name": created["name"], "description": "now pushes", "disable": True}
    assert call("PUT", url, {**changed, "duration": 20}).status == 200
    robot = ok(call("GET", url))
    assert (robot["description"], robot["disable"], robot["duration"]) == ("now pushes", True, 20)
    assert robot["expires_at"] == created["expires_at"] + 10 * 86400
    assert robot["permissions"][0]["access"] == [{**PUSH, "effect": "allow"}]
    assert as_caller("GET", "/projects", as_robot(created)).status == 401
    del changed["duration"]
    assert call("PUT", url, {**changed, "disable": False}).status == 200
    assert ok(call("GET", url))["expires_at"] == robot["expires_at"]
    assert call("PUT", url, {**changed, "duration": -1}).status == 200
    assert ok(call("GET", url))["expires_at"] == -1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "another"},
        {"name": None},
        {"level": "system"},
        {"level": 5},
        {"duration": 0},
        {"duration": "1"},
        {"permissions": []},
        {"disable": 1},
    ],
)
def test_a_malformed_change_is_a_bad_request_and_changes_nothing(wrong: dict[str, Any]) -> None:
    project, _ = make_project()
    created = create(project_robot(project))
    url = f"/robots/{created['id']}"
    before = ok(call("GET", url))
    body = {**project_robot(project, PUSH), "name": created["name"], **wrong}
    assert call("PUT", url, body).status == 400
    assert ok(call("GET", url)) == before


def test_a_new_secret_takes_the_place_of_the_old_one() -> None:
    project, _ = make_project()
    created = create(project_robot(project))
    url = f"/robots/{created['id']}"
    assert get_token(as_robot(created)).status == 200
    fresh = ok(call("PATCH", url, {}))["secret"]
    assert len(fresh) == 32
    assert get_token(as_robot(created)).status == 401
    assert get_token(basic(created["name"], fresh)).status == 200
    assert ok(call("PATCH", url, {"secret": "Chosen-by-client-1"})) == {"secret": ""}
    assert accounts.verify(created["name"], "Chosen-by-client-1")
    for weak in ("short1A", 5, ["Passw0rd"]):
        assert call("PATCH", url, {"secret": weak}).status == 400
    assert accounts.verify(created["name"], "Chosen-by-client-1")


def test_a_given_secret_is_taken() -> None:
    project, _ = make_project()
    created = create(project_robot(project, secret="Chosen-by-client-1"))
    assert created["secret"] == "Chosen-by-client-1"
    assert get_token(as_robot(created)).status == 200


def test_a_disabled_robot_may_be_made() -> None:
    project, _ = make_project()
    created = create(project_robot(project, disable=True))
    assert get_token(as_robot(created)).status == 401


def test_the_list_has_pages_conditions_and_an_order() -> None:
    project, number = make_project()
    made = [create(project_robot(project, description=f"number {index}"))["name"] for index in range(5)]
    url = f"/robots?q=Level%3Dproject%2CProjectID%3D{number}"
    response = call("GET", f"{url}&page=2&page_size=2")
    assert response.headers["X-Total-Count"] == "5"
    assert [robot["name"] for robot in ok(response)] == made[2:4]
    assert names(f"{url}&sort=-creation_time") == made[::-1]
    assert names(f"{url},name={quote(made[3].removeprefix('robot$'))}") == [made[3]]
    assert names(f"{url},name=~{made[1][-6:]}") == [made[1]]
    assert names(f"/robots?q=ProjectID={number},Level=project") == made
    assert not set(made) & set(names("/robots?page_size=100"))


def test_the_systems_robots_are_listed_without_a_level() -> None:
    mark = uuid.uuid4().hex[:8]
    name = create({**system_robot(), "name": f"bot-{mark}"})["name"]
    assert names(f"/robots?q=name=~{mark}") == names(f"/robots?q=Level=system,name=~{mark}") == [name]
    assert names(f"/robots?q=secret=~a,name=~{mark}&sort=unknown") == [name]


@pytest.mark.parametrize(
    "query",
    ["Level=project,ProjectID={}", "level=project,project_id={}", "Level%253Dproject%252CProjectID%253D{}"],
)
def test_a_projects_robots_are_asked_for_in_any_spelling(project: str, query: str) -> None:
    """The last is what Harbor's command line sends, encoded twice."""
    number = ok(call("GET", f"/projects/{project}"))["project_id"]
    name = create(project_robot(project))["name"]
    assert names(f"/robots?q={query.format(number)}") == [name]


@pytest.mark.parametrize(
    "query",
    [
        "Level=world",
        "Level=",
        "Level=project",
        "Level=project,ProjectID=x",
        "Level=project,ProjectID=",
        "level=project",
    ],
)
def test_a_malformed_query_is_a_bad_request(query: str) -> None:
    assert call("GET", f"/robots?q={query}").status == 400


@pytest.mark.parametrize("number", ["x", "0", "-1", "9" * 40, "²", "%20"])
def test_what_is_no_robots_number_is_not_found(number: str) -> None:
    assert call("GET", f"/robots/{number}").status == 404


def test_a_robot_is_no_user() -> None:
    project, _ = make_project()
    headers = as_robot(create(project_robot(project)))
    response = as_caller("GET", "/users/current", headers)
    assert (response.status, errors_of(response)) == (412, ["PRECONDITION"])
    assert as_caller("GET", "/users", headers).status == 403
    assert as_caller("GET", "/users/1", headers).status == 403
    assert as_caller("POST", "/projects", headers, {"project_name": f"{project}-too"}).status == 403


def test_a_robot_uses_the_api_within_its_permissions() -> None:
    project, _ = make_project()
    private, _ = make_project()
    reads = {"resource": "project", "action": "read"}
    lists = {"resource": "repository", "action": "list"}
    headers = as_robot(create(project_robot(project, reads, lists)))
    assert ok(as_caller("GET", f"/projects/{project}", headers))["current_user_role_id"] == 0
    assert ok(as_caller("GET", f"/projects/{project}/repositories", headers)) == []
    assert as_caller("DELETE", f"/projects/{project}", headers).status == 403
    assert as_caller("GET", f"/projects/{project}/members", headers).status == 403
    hidden, missing = (as_caller("GET", f"/projects/{name}", headers) for name in (private, "no-such-project"))
    assert (hidden.status, hidden.body) == (missing.status, missing.body)
    assert hidden.status == 403
    listed = [each["name"] for each in ok(as_caller("GET", "/projects?page_size=100", headers))]
    assert project in listed
    assert private not in listed


def test_a_robot_that_makes_robots_gives_what_it_has_and_no_more() -> None:
    project, _ = make_project()
    makes = [{"resource": "robot", "action": action} for action in ("create", "read", "delete")]
    maker = as_robot(create(project_robot(project, PULL, *makes)))
    made = create(project_robot(project, PULL), maker)
    robot = ok(as_caller("GET", f"/robots/{made['id']}", maker))
    assert robot["creator_type"] == "robot"
    assert as_caller("POST", "/robots", maker, project_robot(project, PUSH)).status == 403
    assert as_caller("POST", "/robots", maker, system_robot()).status == 403
    assert as_caller("PATCH", f"/robots/{made['id']}", maker, {}).status == 403
    assert as_caller("DELETE", f"/robots/{made['id']}", maker).status == 200


def test_a_project_is_deleted_with_its_robots() -> None:
    project, number = make_project()
    created = create(project_robot(project))
    assert call("DELETE", f"/projects/{project}").status == 200
    assert call("GET", f"/robots/{created['id']}").status == 404
    assert get_token(as_robot(created)).status == 401
    assert call("GET", f"/robots?q=Level=project,ProjectID={number}").status in (403, 404)


def test_docker_gets_a_token_for_what_the_robot_may_do() -> None:
    project, _ = make_project()
    headers = as_robot(create(project_robot(project, PULL)))
    answer = json_of(get_token(headers, scope=[f"repository:{project}/app:pull,push"]))
    assert answer["scope"] == f"repository:{project}/app:pull"


def test_who_may_make_robots_learns_what_they_can_be_given() -> None:
    project, _ = make_project()
    everything = ok(call("GET", "/permissions"))
    assert {"resource": "catalog", "action": "read"} in everything["system"]
    assert PULL in everything["project"]
    in_project = ok(as_caller("GET", "/permissions", make_user(project, 1)))
    assert in_project == {"system": [], "project": everything["project"]}
    robot = as_robot(create(project_robot(project)))
    for headers, status in ((make_user(project, 4), 403), (make_user(), 403), (robot, 403), ({}, 401)):
        assert as_caller("GET", "/permissions", headers).status == status


def test_every_permission_that_is_shown_can_be_given() -> None:
    everything = ok(call("GET", "/permissions"))
    body = system_robot(*everything["project"])
    body["permissions"].append({"kind": "system", "namespace": "/", "access": everything["system"]})
    given = ok(call("GET", f"/robots/{create(body)['id']}"))["permissions"]
    assert [len(each["access"]) for each in given] == [len(everything["project"]), len(everything["system"])]


def test_a_robot_of_the_system_does_what_it_was_given_outside_of_projects() -> None:
    given = [("project", "create"), ("user", "list"), ("user", "create"), ("user", "update"), ("label", "create")]
    access = [{"resource": resource, "action": action} for resource, action in given]
    robot = create(system_robot(*access, kind="system", namespace="/"))
    headers = basic(robot["name"], robot["secret"])
    suffix = uuid.uuid4().hex[:12]
    project = as_caller("POST", "/projects", headers, {"project_name": f"made-{suffix}"})
    assert project.status == 201
    shown = ok(call("GET", f"/projects/made-{suffix}"))
    assert (shown["owner_name"], shown["owner_id"]) == ("admin", 1)
    assert as_caller("GET", f"/projects/made-{suffix}", headers).status == 403
    body = {"username": f"user-{suffix}", "password": PASSWORD, "email": f"{suffix}@example.com", "realname": "A user"}
    made = as_caller("POST", "/users", headers, body)
    assert made.status == 201
    number = int(made.headers["Location"].rpartition("/")[2])
    assert as_caller("GET", "/users", headers).status == 200
    assert as_caller("GET", f"/users/{number}", headers).status == 403
    assert as_caller("DELETE", f"/users/{number}", headers).status == 403
    assert as_caller("POST", "/labels", headers, {"name": f"label-{suffix}", "scope": "g"}).status == 201
    assert "harbor_version" in ok(as_caller("GET", "/systeminfo", headers))


def test_a_robot_that_may_update_users_cannot_become_one() -> None:
    robot = create(system_robot({"resource": "user", "action": "update"}, kind="system", namespace="/"))
    headers = basic(robot["name"], robot["secret"])
    user = ok(as_caller("GET", "/users/current", make_user()))
    number = user["user_id"]
    profile = {"email": user["email"], "realname": "Renamed"}
    assert as_caller("PUT", f"/users/{number}", headers, profile).status == 200
    assert as_caller("PUT", f"/users/{number}/password", headers, {"new_password": "Another-passw0rd"}).status == 403
    assert as_caller("PUT", f"/users/{number}/sysadmin", headers, {"sysadmin_flag": True}).status == 403


def test_a_robot_that_was_not_given_them_does_none_of_these() -> None:
    robot = create(system_robot({"resource": "quota", "action": "list"}, kind="system", namespace="/"))
    headers = basic(robot["name"], robot["secret"])
    for method, url, body in [
        ("POST", "/projects", {"project_name": "never-made"}),
        ("GET", "/users", None),
        ("POST", "/users", {}),
        ("PUT", "/users/1", {}),
        ("DELETE", "/users/1", None),
        ("POST", "/labels", {"name": "x", "scope": "g"}),
    ]:
        assert as_caller(method, url, headers, body).status == 403, (method, url)
