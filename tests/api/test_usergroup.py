"""User groups through Harbor's API, and the roles that users have by them."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.access import groups
from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import permissions, permitted
from chalicelib.projects import rules
from chalicelib.projects.store import members as member_table
from chalicelib.projects.store.members import Entity
from tests.api.people import as_user, content, join, new_user
from tests.api.support import call
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("administrator")


def new_name() -> str:
    return f"team {uuid.uuid4().hex[:12]}"


def make(name: str = "", kind: int = groups.OIDC) -> int:
    response = call("POST", "/usergroups", {"group_name": name or new_name(), "group_type": kind})
    assert response.status == 201, response.body
    return int(response.headers["Location"].rpartition("/")[2])


def add(project: str, role: int, **group: Any) -> int:
    response = call("POST", f"/projects/{project}/members", {"role_id": role, "member_group": group})
    assert response.status == 201, response.body
    return int(response.headers["Location"].rpartition("/")[2])


def test_a_group_is_made_found_renamed_and_deleted() -> None:
    name = new_name()
    number = make(name)
    shown = {"id": number, "group_name": name, "group_type": 3}
    assert content(call("GET", f"/usergroups/{number}")) == shown
    assert content(call("GET", f"/usergroups?group_name={name[5:]}")) == [shown]
    assert content(call("GET", f"/usergroups/search?groupname={name[5:]}")) == [shown]
    other = new_name()
    assert call("PUT", f"/usergroups/{number}", {"group_name": other}).status == 200
    assert content(call("GET", f"/usergroups/{number}"))["group_name"] == other
    assert make(name) != number
    assert call("DELETE", f"/usergroups/{number}").status == 200
    assert call("GET", f"/usergroups/{number}").status == 404
    assert call("DELETE", f"/usergroups/{number}").status == 200, "it is gone, as was asked"
    assert make(other) != number


def test_a_name_is_taken_once_in_a_type() -> None:
    name = new_name()
    number, other = make(name), make()
    assert call("POST", "/usergroups", {"group_name": name, "group_type": 3}).status == 409
    assert call("PUT", f"/usergroups/{other}", {"group_name": name}).status == 409
    assert make(name, groups.HTTP) != number
    assert call("PUT", f"/usergroups/{number}", {"group_name": name}).status == 200


def test_of_many_who_make_a_group_at_once_one_does() -> None:
    body = {"group_name": new_name(), "group_type": 3}
    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(lambda _: call("POST", "/usergroups", body).status, range(6)))
    assert statuses == [201, *[409] * 5]


@pytest.mark.parametrize(
    "wrong",
    [
        {"group_name": ""},
        {"group_name": "x" * 256},
        {"group_name": "a\nb"},
        {"group_name": 5},
        {"group_name": None},
        {"group_type": 1},
        {"group_type": 4},
        {"group_type": "3"},
        {"group_type": None},
    ],
)
def test_a_wrong_group_is_refused(wrong: dict[str, Any]) -> None:
    assert call("POST", "/usergroups", {"group_name": new_name(), "group_type": 3, **wrong}).status == 400
    if "group_name" in wrong:
        assert call("PUT", f"/usergroups/{make()}", wrong).status == 400


def test_only_administrators_manage_groups_and_everyone_searches_them() -> None:
    name, _ = new_user()
    number = make()
    for method, url in [
        ("GET", "/usergroups"),
        ("POST", "/usergroups"),
        ("GET", f"/usergroups/{number}"),
        ("PUT", f"/usergroups/{number}"),
        ("DELETE", f"/usergroups/{number}"),
    ]:
        body = {"group_name": "x", "group_type": 3}
        assert as_user(name, method, url, body).status == 403
        assert call(method, url, body, admin=False).status == 401
    assert as_user(name, "GET", "/usergroups/search?groupname=team").status == 200
    assert as_user(name, "GET", "/usergroups/search").status == 400
    assert call("GET", "/usergroups/search?groupname=team", admin=False).status == 401


def test_a_group_gives_its_users_a_role_beside_their_own(project: str) -> None:
    name, number = new_user()
    group = make()
    member = add(project, 3, id=group)
    assert as_user(name, "GET", f"/projects/{project}").status == 403
    join(number, group)
    assert content(as_user(name, "GET", f"/projects/{project}"))["current_user_role_ids"] == [3]
    body = {"role_id": 2, "member_user": {"user_id": number}}
    assert call("POST", f"/projects/{project}/members", body).status == 201
    assert content(as_user(name, "GET", f"/projects/{project}"))["current_user_role_ids"] == [2, 3]
    assert project in [each["name"] for each in content(as_user(name, "GET", "/projects?page_size=100"))]
    assert call("DELETE", f"/projects/{project}/members/{member}").status == 200
    assert content(as_user(name, "GET", f"/projects/{project}"))["current_user_role_ids"] == [2]


def test_a_group_is_a_member_with_a_name_of_its_own(project: str) -> None:
    name = new_name()
    group = make(name)
    member = add(project, 2, group_name=name, group_type=3)
    shown = content(call("GET", f"/projects/{project}/members/{member}"))
    assert (shown["entity_type"], shown["entity_name"], shown["entity_id"]) == ("g", name, group)
    again = {"role_id": 2, "member_group": {"id": group}}
    assert call("POST", f"/projects/{project}/members", again).status == 409
    renamed = new_name()
    assert call("PUT", f"/usergroups/{group}", {"group_name": renamed}).status == 200
    assert content(call("GET", f"/projects/{project}/members/{member}"))["entity_name"] == renamed
    assert call("PUT", f"/projects/{project}/members/{member}", {"role_id": 4}).status == 200
    assert content(call("GET", f"/projects/{project}/summary"))["maintainer_count"] == 1


def test_a_group_that_is_deleted_takes_its_roles_along(project: str) -> None:
    name, number = new_user()
    group = make()
    add(project, 1, id=group)
    join(number, group)
    assert as_user(name, "GET", f"/projects/{project}").status == 200
    assert call("DELETE", f"/usergroups/{group}").status == 200
    assert as_user(name, "GET", f"/projects/{project}").status == 403
    kinds = [each["entity_type"] for each in content(call("GET", f"/projects/{project}/members"))]
    assert kinds == ["u"]
    assert member_table.projects_of(Entity("group", group)) == []


@pytest.mark.parametrize(
    "group",
    [
        {"id": 10**9},
        {"id": -5},
        {"id": "1"},
        {"group_name": "no such group"},
        {"group_name": "x" * 5000},
        {},
        {"id": 0},
    ],
)
def test_a_group_that_there_is_not_is_no_member(project: str, group: dict[str, Any]) -> None:
    body = {"role_id": 2, "member_group": group}
    assert call("POST", f"/projects/{project}/members", body).status == 400


def test_roles_by_fifty_groups_are_one_read_and_then_none(project: str) -> None:
    group = make()
    add(project, 3, id=group)
    found = rules.get(project)
    caller = Caller("someone", 10**9, groups=(*range(10**6, 10**6 + 50), group))
    assert permitted(caller, f"{project}/app") == {"pull"}
    for budget in (1, 0):
        with counted() as calls:
            member = Caller("someone", 10**9 + 1, groups=caller.groups)
            assert permissions(member, found)
        assert calls.summary == (budget, 0, 0)
