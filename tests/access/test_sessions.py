"""Sessions of the console, and their protection against requests that other sites make."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from chalicelib.access import configuration, keys, users
from chalicelib.access.store import configuration as configuration_table
from chalicelib.access.store import logins
from chalicelib.access.store import sessions as table
from chalicelib.events import store as audit
from chalicelib.http import Response
from chalicelib.settings import settings
from chalicelib.storage.tables.accounts import ConfigurationItem, SessionItem
from tests.access.browser import Browser
from tests.access.support import NAME, PASSWORD, basic

pytestmark = pytest.mark.usefixtures("administrator")

OWN_PASSWORD = "Passw0rd-of-a-test"
CURRENT = "/api/v2.0/users/current"


def new_user() -> tuple[str, int]:
    name = f"user-{uuid.uuid4().hex[:12]}"
    return name, users.create(name, OWN_PASSWORD, f"{name}@example.com", "A user", "").number


@pytest.fixture
def browser() -> Browser:
    """A browser that a new user is logged in with."""
    made = Browser()
    name, _ = new_user()
    assert made.log_in(name, OWN_PASSWORD).status == 200
    return made


@pytest.fixture
def configured() -> Iterator[Any]:
    def configure(**values: Any) -> None:
        configuration.update(values)

    yield configure
    ConfigurationItem(configuration_table.CONFIGURATION, configuration_table.SYSTEM).delete()
    configuration._cache.clear()


def code(response: Response) -> tuple[int, str]:
    return response.status, json.loads(response.body)["errors"][0]["code"]


def test_a_login_lasts_until_the_logout() -> None:
    browser = Browser()
    assert browser.get(CURRENT).status == 401
    assert browser.log_in(NAME, PASSWORD).status == 200
    assert json.loads(browser.get(CURRENT).body)["username"] == NAME
    kept = dict(browser.cookies)
    assert browser.get("/c/log_out").status == 200
    assert "sid" not in browser.cookies
    browser.cookies = kept
    assert browser.get(CURRENT).status == 401


def test_the_cookie_is_for_this_host_and_no_script() -> None:
    for origin, secure in (("https://registry.example.com", True), ("http://localhost:8080", False)):
        browser = Browser(origin)
        response = browser.log_in(NAME, PASSWORD)
        (cookie,) = response.cookies
        assert cookie.startswith("sid=")
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert ("Secure" in cookie) == secure
        assert "Domain" not in cookie


def test_the_table_does_not_hold_what_the_browser_does(browser: Browser) -> None:
    items = boto3.client("dynamodb").scan(TableName=settings().accounts_table)["Items"]
    assert browser.cookies["sid"] not in json.dumps(items, default=str)


def test_each_login_gets_a_name_of_its_own() -> None:
    """A name that somebody planted before the login does not become the session's."""
    browser = Browser()
    browser.cookies["sid"] = planted = "A" * 43
    assert browser.log_in(NAME, PASSWORD).status == 200
    assert browser.cookies["sid"] != planted


@pytest.mark.parametrize("form", [{}, {"principal": NAME}, {"principal": NAME, "password": "wrong"}, {"password": "x"}])
def test_a_wrong_login_is_unauthorized(form: dict[str, str]) -> None:
    logins.forget("name|")  # other tests try no name too
    browser = Browser()
    browser.get("/api/v2.0/systeminfo")
    response = browser.post_form("/c/login", **form)
    assert code(response) == (401, "UNAUTHORIZED")
    assert not any(cookie.startswith("sid=") for cookie in response.cookies)


def test_a_wrong_login_is_in_the_audit_log() -> None:
    tried = f"nobody-{uuid.uuid4().hex}" + "x" * 300
    browser = Browser()
    browser.get("/api/v2.0/systeminfo")
    assert browser.log_in(tried, "wrong").status == 401
    [entry] = [
        each for each in audit.page(audit.system_partitions(), audit.ALWAYS, 0, 50, descending=True)
        if tried.startswith(each.resource) and each.resource
    ]  # fmt: skip
    assert (entry.type, entry.is_successful, entry.actor.name) == ("login_user", False, tried[:255])


def test_a_login_of_another_form_is_a_bad_request() -> None:
    browser = Browser()
    browser.get("/api/v2.0/systeminfo")
    assert browser.post_json("/c/login", {"principal": NAME, "password": PASSWORD}).status == 400
    form = "application/x-www-form-urlencoded"
    assert browser.send("POST", "/c/login", b"\xff\xfe=", content_type=form).status == 400
    assert browser.send("POST", "/c/login", b"a=" + b"x" * 70_000, content_type=form).status == 400
    assert browser.send("POST", "/c/login", b"&".join([b"a=1"] * 200), content_type=form).status == 400
    assert browser.get("/c/login").status == 405
    assert browser.get("/c/nothing").status == 404


@pytest.mark.parametrize(
    "tamper",
    [
        lambda sid: sid[:-1] + ("A" if sid[-1] != "A" else "B"),
        lambda sid: sid.lower(),
        lambda _: "",
        lambda _: "x" * 43,
        lambda sid: sid + "x",
        lambda sid: "../" + sid,
        lambda _: "\x00" * 43,
    ],
)
def test_a_cookie_that_was_tampered_with_is_nobodys(browser: Browser, tamper: Any) -> None:
    assert browser.get(CURRENT).status == 200
    browser.cookies["sid"] = tamper(browser.cookies["sid"])
    assert browser.get(CURRENT).status == 401


def test_a_session_ends_with_the_password() -> None:
    name, number = new_user()
    browser = Browser()
    browser.log_in(name, OWN_PASSWORD)
    assert browser.get(CURRENT).status == 200
    users.set_password(number, "Another-passw0rd")
    assert browser.get(CURRENT).status == 401


def test_a_session_ends_with_the_user_and_is_not_the_next_ones_of_that_name() -> None:
    name, number = new_user()
    browser = Browser()
    browser.log_in(name, OWN_PASSWORD)
    users.delete(number)
    assert browser.get(CURRENT).status == 401
    users.create(name, OWN_PASSWORD, f"{name}@example.com", "Another", "")
    assert browser.get(CURRENT).status == 401


def test_a_session_that_rests_ends_and_one_that_is_used_goes_on(browser: Browser) -> None:
    sid = browser.cookies["sid"]
    soon = int(time.time()) + 5
    item = SessionItem.get(table._partition(sid), "login")
    item.update(actions=[SessionItem.expires.set(soon)])
    assert browser.get(CURRENT).status == 200
    found = table.read(sid, "login")
    assert found is not None
    assert found[1] > soon + 3000
    item.update(actions=[SessionItem.expires.set(int(time.time()) - 1)])
    assert browser.get(CURRENT).status == 401


def test_the_configured_timeout_is_obeyed(configured: Any) -> None:
    configured(session_timeout=5)
    browser = Browser()
    browser.log_in(NAME, PASSWORD)
    found = table.read(browser.cookies["sid"], "login")
    assert found is not None
    assert found[1] - time.time() <= 300


PROJECTS = "/api/v2.0/projects"


def project() -> dict[str, str]:
    return {"project_name": f"p{uuid.uuid4().hex[:12]}"}


def test_a_change_needs_the_token_of_an_answer_before(browser: Browser) -> None:
    assert browser.post_json(PROJECTS, project()).status == 201
    assert browser.post_json(PROJECTS, project(), origin=browser.origin).status == 201


def test_a_change_without_or_with_a_wrong_token_is_forbidden(browser: Browser) -> None:
    other = Browser()
    other.get("/api/v2.0/systeminfo")
    mine = browser.token
    expired = keys.sign({"cookie": "x"}, "csrf", -60)
    wrong_audience = keys.sign({"cookie": "x"}, "registry", 60)
    for token in ("", "x", other.token, expired, wrong_audience, mine[:-2], "é"):
        browser.token = token
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            response = browser.post_json(f"{PROJECTS}/library" if method != "POST" else PROJECTS, project(), method)
            if response.status != 405:
                assert code(response) == (403, "FORBIDDEN"), (method, token)
            browser.token = token
    browser.token = mine
    assert browser.post_json(PROJECTS, project(), origin="https://evil.example.com").status == 403
    assert browser.post_json(PROJECTS, project(), origin="null").status == 403
    browser.token = mine
    del browser.cookies["_gorilla_csrf"]
    assert browser.post_json(PROJECTS, project()).status == 403
    assert browser.post_json(PROJECTS, project()).status == 201, "the refusal brought a new token and its cookie"


def test_a_login_needs_the_token_too() -> None:
    browser = Browser()
    assert code(browser.post_form("/c/login", principal=NAME, password=PASSWORD)) == (403, "FORBIDDEN")


def test_credentials_need_no_token_whatever_cookies_come_along(browser: Browser) -> None:
    browser.token = ""
    headers = basic(NAME, PASSWORD)
    response = browser.post_json(PROJECTS, project(), **headers)
    assert response.status == 201
    assert json.loads(browser.get(CURRENT, **headers).body)["username"] == NAME


def test_self_registration_is_for_browsers_and_only_when_it_is_on(configured: Any) -> None:
    def register(browser: Browser) -> Response:
        name = f"user-{uuid.uuid4().hex[:12]}"
        profile = {"username": name, "password": OWN_PASSWORD, "email": f"{name}@example.com", "realname": "x"}
        return browser.post_json("/api/v2.0/users", profile)

    browser = Browser()
    browser.get("/api/v2.0/systeminfo")
    assert register(browser).status == 401
    configured(self_registration=True)
    browser.get("/api/v2.0/systeminfo")
    assert register(browser).status == 201
    assert register(Browser()).status == 403
    plain = Browser()
    plain.log_in(new_user()[0], OWN_PASSWORD)
    assert register(plain).status == 403


def test_nothing_registers_administrators(configured: Any) -> None:
    configured(self_registration=True)
    browser = Browser()
    browser.get("/api/v2.0/systeminfo")
    name = f"user-{uuid.uuid4().hex[:12]}"
    profile = {"username": name, "password": OWN_PASSWORD, "email": f"{name}@example.com", "realname": "x"}
    assert browser.post_json("/api/v2.0/users", {**profile, "sysadmin_flag": True}).status == 201
    assert browser.log_in(name, OWN_PASSWORD).status == 200
    assert json.loads(browser.get(CURRENT).body)["sysadmin_flag"] is False
