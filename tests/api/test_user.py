"""Users through Harbor's API."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.access import tokens
from chalicelib.access.store import user_counts
from chalicelib.access.store import users as accounts_table
from chalicelib.bootstrap import bootstrap
from chalicelib.http import Response
from chalicelib.storage.tables.accounts import UserCountItem
from tests.access.support import BASIC, NAME, PASSWORD, basic, bearer, refresh_token_for, token_for
from tests.api.support import call

pytestmark = pytest.mark.usefixtures("administrator")

OWN_PASSWORD = "Passw0rd-of-a-test"


def ok(response: Response, status: int = 200) -> Any:
    assert response.status == status, response.body
    return json.loads(response.body) if response.body else None


def profile(name: str, **more: Any) -> dict[str, Any]:
    return {
        "username": name,
        "password": OWN_PASSWORD,
        "email": f"{name}@example.com",
        "realname": "A user",
        "comment": "",
        **more,
    }


def make(name: str = "") -> tuple[str, int]:
    name = name or f"user-{uuid.uuid4().hex[:12]}"
    response = call("POST", "/users", profile(name))
    assert response.status == 201, response.body
    return name, int(response.headers["Location"].rpartition("/")[2])


def as_user(method: str, url: str, name: str, body: Any = None, password: str = OWN_PASSWORD) -> Response:
    return call(method, url, body, headers=basic(name, password), admin=False)


def test_a_user_is_made_found_changed_and_deleted() -> None:
    name, number = make()
    user = ok(call("GET", f"/users/{number}"))
    assert (user["username"], user["email"], user["sysadmin_flag"]) == (name, f"{name}@example.com", False)
    assert ok(call("GET", f"/users?username={name}")) == [user]
    assert ok(call("GET", f"/users/search?username={name}")) == [{"user_id": number, "username": name}]
    changed = {"email": f"new-{name}@example.com", "realname": "Other", "comment": "moved"}
    assert call("PUT", f"/users/{number}", changed).status == 200
    assert changed.items() <= ok(call("GET", f"/users/{number}")).items()
    assert call("DELETE", f"/users/{number}").status == 200
    for method in ("GET", "DELETE"):
        assert call(method, f"/users/{number}").status == 404
    assert as_user("GET", "/users/current", name).status == 401


def test_no_answer_holds_a_password_or_a_hash() -> None:
    name, number = make()
    for url in ("/users", f"/users/{number}", f"/users/search?username={name}"):
        body = call("GET", url).body
        assert b"argon2" not in body
        assert OWN_PASSWORD.encode() not in body


@pytest.mark.parametrize(
    "wrong",
    [
        {"username": ""},
        {"username": "a b"},
        {"username": "robot$x"},
        {"username": "x" * 256},
        {"username": 5},
        {"username": None},
        {"password": "short1A"},
        {"password": "nouppercase1"},
        {"password": "NOLOWERCASE1"},
        {"password": "NoDigitsHere"},
        {"password": "Aa1" + "x" * 200},
        {"password": 12345678},
        {"email": "no address"},
        {"email": ""},
        {"email": "x" * 250 + "@example.com"},
        {"realname": ""},
        {"realname": "a,b"},
        {"comment": "x" * 31},
        {"comment": 3},
    ],
)
def test_a_wrong_profile_is_refused(wrong: dict[str, Any]) -> None:
    name = f"user-{uuid.uuid4().hex[:12]}"
    assert call("POST", "/users", profile(name, **wrong)).status == 400
    assert ok(call("GET", f"/users/search?username={name}")) == []


def test_names_and_addresses_are_taken_once_and_free_again() -> None:
    name, number = make()
    other, other_number = make()
    assert call("POST", "/users", profile(name, email="other-address@example.com")).status == 409
    assert call("POST", "/users", profile(f"{name}-2", email=f"{name.upper()}@EXAMPLE.com")).status == 409
    assert call("POST", "/users", profile("admin")).status == 409
    taken = {"email": f"{name}@example.com", "realname": "x"}
    assert call("PUT", f"/users/{other_number}", taken).status == 409
    assert call("DELETE", f"/users/{number}").status == 200
    assert call("PUT", f"/users/{other_number}", taken).status == 200
    assert call("POST", "/users", profile(name, email=f"{other}@example.com")).status == 201


def test_of_many_who_take_a_name_at_once_one_gets_it() -> None:
    name = f"user-{uuid.uuid4().hex[:12]}"
    bodies = [profile(name, email=f"{name}-{index}@example.com") for index in range(6)]
    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(lambda body: call("POST", "/users", body).status, bodies))
    assert statuses == [201, *[409] * 5]
    assert len(ok(call("GET", f"/users?username={name}"))) == 1


def test_users_manage_themselves_and_nobody_else() -> None:
    name, number = make()
    _, other = make()
    assert ok(as_user("GET", "/users/current", name))["user_id"] == number
    assert as_user("GET", f"/users/{number}", name).status == 200
    own = {"email": f"{name}@example.com", "realname": "Renamed"}
    assert as_user("PUT", f"/users/{number}", name, own).status == 200
    for method, url in [
        ("GET", "/users"),
        ("POST", "/users"),
        ("GET", f"/users/{other}"),
        ("PUT", f"/users/{other}"),
        ("DELETE", f"/users/{number}"),
        ("PUT", f"/users/{number}/sysadmin"),
        ("PUT", f"/users/{other}/password"),
    ]:
        assert as_user(method, url, name, profile("x")).status == 403, (method, url)
        assert call(method, url, profile("x"), admin=False).status == 401, (method, url)
        token = bearer(token_for(BASIC, "repository:library/a:pull"))
        assert call(method, url, profile("x"), admin=False, headers=token).status == 403, (method, url)
    assert call("GET", "/users/current", admin=False).status == 401


def test_a_changed_password_ends_what_the_old_one_gave() -> None:
    name, number = make()
    refresh = refresh_token_for(name, OWN_PASSWORD)
    assert tokens.verify_refresh(refresh)
    body = {"old_password": OWN_PASSWORD, "new_password": "Another-passw0rd"}
    assert as_user("PUT", f"/users/{number}/password", name, {**body, "old_password": "wrong"}).status == 403
    assert as_user("PUT", f"/users/{number}/password", name, {**body, "new_password": "weak"}).status == 400
    assert as_user("PUT", f"/users/{number}/password", name, {**body, "new_password": OWN_PASSWORD}).status == 400
    assert as_user("PUT", f"/users/{number}/password", name, body).status == 200
    assert as_user("GET", "/users/current", name).status == 401
    assert as_user("GET", "/users/current", name, password="Another-passw0rd").status == 200
    assert tokens.verify_refresh(refresh) is None


def test_a_system_administrator_is_made_and_unmade() -> None:
    name, number = make()
    assert call("PUT", f"/users/{number}/sysadmin", {"sysadmin_flag": True}).status == 200
    assert as_user("GET", "/users", name).status == 200
    assert call("PUT", f"/users/{number}/sysadmin", {"sysadmin_flag": "no"}).status == 400
    assert call("PUT", f"/users/{number}/sysadmin", {"sysadmin_flag": False}).status == 200
    assert as_user("GET", "/users", name).status == 403


def test_the_administrator_is_the_deployments() -> None:
    assert ok(call("GET", "/users/current"))["user_id"] == 1
    assert call("DELETE", "/users/1").status == 403
    body = {"old_password": PASSWORD, "new_password": "Another-passw0rd"}
    assert call("PUT", "/users/1/password", body).status == 403
    assert call("PUT", "/users/1", profile("admin")).status == 403
    assert call("PUT", "/users/1/sysadmin", {"sysadmin_flag": False}).status == 403


def test_permissions_are_those_of_the_scope(project: str) -> None:
    name, _ = make()
    number = ok(call("GET", f"/projects/{project}"))["project_id"]
    body = {"role_id": 3, "member_user": {"username": name}}
    assert call("POST", f"/projects/{project}/members", body).status == 201
    listed = ok(as_user("GET", f"/users/current/permissions?scope=/project/{number}&relative=true", name))
    assert {"resource": "repository", "action": "pull"} in listed
    assert {"resource": ".", "action": "read"} in listed
    assert {"resource": "repository", "action": "push"} not in listed
    absolute = ok(as_user("GET", f"/users/current/permissions?scope=/project/{number}", name))
    assert {"resource": f"/project/{number}/repository", "action": "pull"} in absolute
    of_repositories = ok(as_user("GET", f"/users/current/permissions?scope=/project/{number}/repository", name))
    assert of_repositories == absolute
    scope = f"/project/{number}/repository&relative=1"
    relative = ok(as_user("GET", f"/users/current/permissions?scope={scope}", name))
    assert {"resource": ".", "action": "pull"} in relative
    assert {each["resource"] for each in relative} == {"."}
    for scope in ("/project/999999999", "/project/x", "", "/"):
        assert ok(as_user("GET", f"/users/current/permissions?scope={scope}", name)) == []


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "99999999999999999999"])
def test_a_number_that_is_none_is_nobodys(number: str) -> None:
    assert call("PUT", f"/users/{number}", profile("x")).status == 404


def counted(query: str = "") -> int:
    return int(call("GET", f"/users?page_size=1{query}").headers["X-Total-Count"])


def test_pages_of_users_are_counted_exactly() -> None:
    mark = f"page{uuid.uuid4().hex[:10]}"
    before = counted()
    with ThreadPoolExecutor(6) as pool:
        made = dict(pool.map(make, [f"{mark}-{index}" for index in range(12)]))
    assert counted() == before + 12
    assert counted(f"&username={mark}") == counted(f"&email={mark}") == counted(f"&username={mark}&email=@") == 12
    assert counted(f"&username={mark}&email=nobody") == 0
    numbers: list[int] = []
    for page in range(1, 1000):
        part = [user["user_id"] for user in ok(call("GET", f"/users?page_size=50&page={page}"))]
        numbers += part
        if not part:
            break
    assert numbers == sorted(numbers)
    assert numbers[0] == 1
    assert len(numbers) == before + 12
    assert {*made.values()} <= {*numbers}
    found = ok(call("GET", f"/users/search?username={mark}&page=2&page_size=5"))
    by_number = sorted(made, key=made.__getitem__)
    assert [user["username"] for user in found] == by_number[5:10]
    for number in made.values():
        ok(call("DELETE", f"/users/{number}"))
    assert counted() == before


def test_users_from_before_they_were_counted_are_entered_by_the_bootstrap() -> None:
    make()
    before = counted()
    for part in range(user_counts.SHARDS):
        UserCountItem("user-count", f"{part:02d}").delete()
    make()
    assert counted() == 2, "the administrator, and who was made since"
    bootstrap(NAME, PASSWORD)
    assert counted() == before + 1
    bootstrap(NAME, PASSWORD)
    make()
    assert counted() == before + 2


def test_users_that_are_made_while_the_others_are_entered_count_once() -> None:
    before = counted()
    for part in range(user_counts.SHARDS):
        UserCountItem("user-count", f"{part:02d}").delete()
    counts = iter(range(2))

    def count() -> int:
        total = accounts_table.count_all()
        if next(counts) == 0:
            make()
        return total

    user_counts.complete(count)
    assert counted() == before + 1
