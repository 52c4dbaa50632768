"""Logins by OpenID Connect: what a provider says is believed only as far as it can be."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc.jwk import RSAKey

from chalicelib import outbound
from chalicelib.access import configuration, keys, oidc, users
from chalicelib.access.store import configuration as configuration_table
from chalicelib.access.store import users as accounts_table
from chalicelib.http import Response
from chalicelib.settings import settings
from chalicelib.storage.tables.accounts import ConfigurationItem
from tests.access.browser import Browser
from tests.access.provider import CLIENT, SECRET, Provider
from tests.access.support import NAME, PASSWORD, basic, token_for
from tests.api.people import content
from tests.api.support import call

pytestmark = pytest.mark.usefixtures("administrator")

CURRENT = "/api/v2.0/users/current"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """A provider that Berth logs users in at, whose user is nobody's yet."""
    allowed = replace(settings(), outbound_allowed=("127.0.0.1/32",))
    monkeypatch.setattr(outbound, "settings", lambda: allowed)
    monkeypatch.setattr(accounts_table, "has_users", lambda: False)
    oidc._providers.clear()
    oidc._keys.clear()
    made = Provider()
    made.user = {**made.user, "sub": uuid.uuid4().hex, "name": f"Ada {uuid.uuid4().hex[:8]}"}
    made.user["email"] = f"{made.user['sub']}@example.com"
    configure(
        auth_mode="oidc_auth",
        oidc_endpoint=made.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,
        oidc_scope="openid,email",
        oidc_groups_claim="groups",
        oidc_auto_onboard=True,
    )
    yield made
    made.close()
    outbound.pool.cache_clear()
    ConfigurationItem(configuration_table.CONFIGURATION, configuration_table.SYSTEM).delete()
    configuration._cache.clear()


def configure(**values: Any) -> None:
    configuration.update(values)


def begin(browser: Browser, query: str = "") -> str:
    """Where the browser is sent to."""
    response = browser.get(f"/c/oidc/login{query}")
    assert response.status == 302, response.body
    return response.headers["Location"]


def come_back(browser: Browser, brought: dict[str, str]) -> Response:
    return browser.get(f"/c/oidc/callback?{urlencode(brought)}")


def log_in(provider: Provider, browser: Browser | None = None) -> tuple[Browser, Response]:
    browser = browser or Browser()
    return browser, come_back(browser, provider.log_in(begin(browser)))


def user_of(browser: Browser) -> dict[str, Any]:
    response = browser.get(CURRENT)
    assert response.status == 200, response.body
    found: dict[str, Any] = json.loads(response.body)
    return found


def assert_refused(browser: Browser, response: Response) -> None:
    assert response.status == 400, response.body
    assert "sid" not in browser.cookies
    assert browser.get(CURRENT).status == 401


def test_who_logs_in_there_is_logged_in_here(provider: Provider) -> None:
    browser, response = log_in(provider)
    assert (response.status, response.headers["Location"]) == (302, "/")
    user = user_of(browser)
    assert user["username"] == provider.user["name"].replace(" ", "_")
    assert user["email"] == provider.user["email"]
    assert user["oidc_user_meta"]["subiss"] == provider.user["sub"] + provider.issuer
    assert "secret" not in user["oidc_user_meta"]
    again, _ = log_in(provider)
    assert user_of(again)["user_id"] == user["user_id"]


def test_the_request_is_the_code_flows_with_pkce(provider: Provider) -> None:
    configure(oidc_extra_redirect_parms='{"prompt": "login", "redirect_uri": "https://evil.example.com"}')
    browser = Browser()
    address = begin(browser)
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert address.startswith(f"{provider.issuer}/auth?")
    assert (query["response_type"], query["client_id"], query["scope"]) == ("code", CLIENT, "openid email")
    assert query["redirect_uri"] == f"{browser.origin}/c/oidc/callback"
    assert (query["code_challenge_method"], len(query["code_challenge"])) == ("S256", 43)
    assert query["prompt"] == "login"
    assert come_back(browser, provider.log_in(address)).status == 302
    (token,) = [(headers, body) for line, headers, body in provider.requests if line == "POST /token"]
    assert token[0]["authorization"] == f"Basic {base64.b64encode(f'{CLIENT}:{SECRET}'.encode()).decode()}"
    assert "code_verifier=" in token[1]
    assert SECRET not in token[1]


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        ({"nonce": "another"}, {}),
        ({"nonce": None}, {}),
        ({"aud": "another-client"}, {}),
        ({"aud": ["another-client"]}, {}),
        ({"aud": [CLIENT, "another"], "azp": "another"}, {}),
        ({"aud": None}, {}),
        ({"iss": "https://evil.example.com"}, {}),
        ({"iss": None}, {}),
        ({"exp": 1}, {}),
        ({"exp": None}, {}),
        ({"exp": "soon"}, {}),
        ({"iat": int(time.time()) + 10_000}, {}),
        ({"nbf": int(time.time()) + 10_000}, {}),
        ({"sub": None}, {}),
        ({"sub": ""}, {}),
        ({"sub": 5}, {}),
        ({"at_hash": "wrong"}, {}),
        ({}, {"alg": "none"}),
        ({}, {"alg": "none", "kid": None}),
    ],
)
def test_an_id_token_that_is_not_for_this_login_is_refused(
    provider: Provider, claims: dict[str, Any], header: dict[str, Any]
) -> None:
    provider.claims, provider.header = claims, header
    assert_refused(*log_in(provider))


def test_an_id_token_that_the_provider_did_not_sign_is_refused(provider: Provider) -> None:
    provider.signing_key = RSAKey.generate_key(2048, {"kid": "one"})
    assert_refused(*log_in(provider))
    provider.header = {"alg": "HS256"}
    assert_refused(*log_in(provider))


def test_a_key_that_was_rotated_is_found(provider: Provider) -> None:
    log_in(provider)
    provider.key = provider.signing_key = RSAKey.generate_key(2048, {"kid": "two"})
    assert log_in(provider)[1].status == 302


@pytest.mark.parametrize(
    "answer",
    [
        (200, b""),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"access_token": "a"}'),
        (200, b'{"access_token": "a", "id_token": 5}'),
        (200, b'{"access_token": "a", "id_token": "x.y.z"}'),
        (200, b'{"access_token": "a", "id_token": ""}'),
        (200, b"[" * 100_000),
        (200, b"x" * 2_000_000),
        (302, b""),
        (400, b'{"error": "invalid_client"}'),
        (500, b"oops"),
    ],
)
def test_a_provider_that_gives_no_token_is_told(provider: Provider, answer: tuple[int, bytes]) -> None:
    provider.token_answer = answer
    assert_refused(*log_in(provider))


def test_a_userinfo_of_somebody_else_is_refused(provider: Provider) -> None:
    provider.userinfo = {"sub": "another", "name": "Mallory"}
    assert_refused(*log_in(provider))


@pytest.mark.parametrize("change", [{"state": "forged"}, {"state": ""}, {"code": "forged"}, {"code": ""}])
def test_a_forged_way_back_is_refused(provider: Provider, change: dict[str, str]) -> None:
    browser = Browser()
    brought = provider.log_in(begin(browser))
    assert_refused(browser, come_back(browser, {**brought, **change}))


def test_another_browsers_way_back_is_refused(provider: Provider) -> None:
    """An attacker who sends a victim to the own login's callback must not log the victim in as the attacker."""
    attacker, victim = Browser(), Browser()
    brought = provider.log_in(begin(attacker))
    assert_refused(victim, come_back(victim, brought))
    begin(victim)
    assert_refused(victim, come_back(victim, brought))


def test_a_way_back_is_gone_once(provider: Provider) -> None:
    browser = Browser()
    address = begin(browser)
    cookies = dict(browser.cookies)
    assert come_back(browser, provider.log_in(address)).status == 302
    replayed = Browser()
    replayed.cookies = cookies
    assert_refused(replayed, come_back(replayed, provider.log_in(address)))


def test_a_way_back_that_took_too_long_or_was_signed_for_something_else_is_refused(provider: Provider) -> None:
    for audience, seconds in (("oidc-flow", -60), ("registry", 60)):
        browser = Browser()
        brought = provider.log_in(begin(browser))
        claims = keys.verify(browser.cookies["oidc_flow"], "oidc-flow")
        kept = {name: claims[name] for name in ("state", "nonce", "verifier", "back")}
        browser.cookies["oidc_flow"] = keys.sign(kept, audience, seconds)
        assert_refused(browser, come_back(browser, brought))


def test_what_the_provider_refuses_is_told(provider: Provider) -> None:
    browser = Browser()
    state = provider.log_in(begin(browser))["state"]
    response = come_back(browser, {"state": state, "error": "access_denied", "error_description": "no"})
    assert_refused(browser, response)
    assert b"access_denied" in response.body


def test_a_browser_is_sent_back_to_a_path_of_this_host_only(provider: Provider) -> None:
    browser = Browser()
    brought = provider.log_in(begin(browser, "?redirect_url=/harbor/projects"))
    assert come_back(browser, brought).headers["Location"] == "/harbor/projects"
    for path in (
        "https://evil.example.com",
        "//evil.example.com",
        "/\\evil.example.com",
        "/%0d%0ax",
        "",
        "javascript:x",
    ):
        assert browser.get(f"/c/oidc/login?redirect_url={path}").status == 400, path


def test_groups_and_the_administrators_group_follow_each_login(provider: Provider, project: str) -> None:
    team, boss = f"team-{uuid.uuid4().hex[:8]}", f"boss-{uuid.uuid4().hex[:8]}"
    configure(oidc_group_filter="^team-", oidc_admin_group=boss)
    member = {"role_id": 2, "member_group": {"group_name": team, "group_type": 3}}
    assert call("POST", f"/projects/{project}/members", member).status == 201
    provider.user["groups"] = [team, "other", 5, None]
    browser, _ = log_in(provider)
    assert json.loads(browser.get(f"/api/v2.0/projects/{project}").body)["current_user_role_ids"] == [2]
    assert content(call("GET", "/usergroups/search?groupname=other")) == []
    assert browser.get("/api/v2.0/users").status == 403
    provider.user["groups"] = [boss]
    browser, _ = log_in(provider)
    assert user_of(browser)["admin_role_in_auth"] is True
    assert browser.get("/api/v2.0/users").status == 200
    provider.user["groups"] = []
    browser, _ = log_in(provider)
    assert browser.get(f"/api/v2.0/projects/{project}").status == 403
    assert user_of(browser)["admin_role_in_auth"] is False


def test_the_configured_claim_is_the_name(provider: Provider) -> None:
    name = f"ada-{uuid.uuid4().hex[:8]}"
    configure(oidc_user_claim="preferred_username")
    provider.user["preferred_username"] = name
    browser, _ = log_in(provider)
    assert user_of(browser)["username"] == name


def test_without_a_name_nobody_is_onboarded(provider: Provider) -> None:
    provider.user["name"] = 5
    assert_refused(*log_in(provider))


def test_who_is_new_chooses_a_name_when_that_is_asked(provider: Provider) -> None:
    configure(oidc_auto_onboard=False)
    browser, response = log_in(provider)
    assert response.headers["Location"].startswith("/oidc-onboard?username=Ada_")
    assert browser.get(CURRENT).status == 401
    name = f"ada-{uuid.uuid4().hex[:8]}"
    kept = dict(browser.cookies)
    token, browser.token = browser.token, ""
    assert browser.post_json("/c/oidc/onboard", {"username": name}).status == 403
    browser.token = token
    for wrong in ("", "a b", "x" * 300, 5):
        assert browser.post_json("/c/oidc/onboard", {"username": wrong}).status == 400
    assert browser.post_json("/c/oidc/onboard", {"username": NAME}).status == 409
    assert browser.post_json("/c/oidc/onboard", {"username": name}).status == 200
    assert user_of(browser)["username"] == name
    browser.cookies = kept
    assert browser.post_json("/c/oidc/onboard", {"username": f"{name}-2"}).status == 400


def test_a_name_or_address_that_is_anothers_gives_nobody_their_account(provider: Provider) -> None:
    browser, _ = log_in(provider)
    first = user_of(browser)
    provider.user["sub"] = uuid.uuid4().hex
    other = Browser()
    assert log_in(provider, other)[1].status == 409
    provider.user["name"] += " the second"
    assert log_in(provider, other)[1].status == 409, "the e-mail address is the first's still"
    provider.user["email"] = ""
    assert log_in(provider, other)[1].status == 302
    assert user_of(other)["user_id"] != first["user_id"]


def test_an_administrator_ends_the_sessions_of_a_user(provider: Provider) -> None:
    browser, _ = log_in(provider)
    user = user_of(browser)
    assert call("PUT", f"/users/{user['user_id']}/cli_secret", {}).status == 200
    assert browser.get(CURRENT).status == 401
    again, _ = log_in(provider)
    assert user_of(again)["user_id"] == user["user_id"]


def test_docker_logs_in_with_the_secret_that_the_user_made(provider: Provider, project: str) -> None:
    team = f"team-{uuid.uuid4().hex[:8]}"
    member = {"role_id": 2, "member_group": {"group_name": team, "group_type": 3}}
    assert call("POST", f"/projects/{project}/members", member).status == 201
    provider.user["groups"] = [team]
    browser, _ = log_in(provider)
    user = user_of(browser)
    url = f"/api/v2.0/users/{user['user_id']}/cli_secret"
    assert browser.get(CURRENT, **basic(user["username"], "")).status == 401
    assert browser.post_json(url, {"secret": "weak"}, "PUT").status == 400
    secret = json.loads(browser.post_json(url, {}, "PUT").body)["secret"]
    assert user_of(browser)["user_id"] == user["user_id"], "the session goes on"
    headers = basic(user["username"], secret)
    assert content(call("GET", "/users/current", headers=headers, admin=False))["username"] == user["username"]
    claims = keys.verify(token_for(headers, f"repository:{project}/app:pull,push"), "registry")
    assert claims["access"][0]["actions"] == ["pull", "push"]
    assert browser.post_json(url, {"secret": "Own-secret-1"}, "PUT").body == b""
    assert call("GET", "/users/current", headers=headers, admin=False).status == 401
    assert call("GET", "/users/current", headers=basic(user["username"], "Own-secret-1"), admin=False).status == 200


def test_passwords_are_the_providers_but_for_the_administrators(provider: Provider) -> None:
    browser, _ = log_in(provider)
    user = user_of(browser)
    secret = json.loads(browser.post_json(f"/api/v2.0/users/{user['user_id']}/cli_secret", {}, "PUT").body)["secret"]
    other = Browser()
    response = other.log_in(user["username"], secret)
    assert response.status == 403
    assert json.loads(response.body) == {"redirect_location": f"{other.origin}/c/oidc/login"}
    assert other.log_in("nobody-known", "x").status == 403
    assert other.log_in(NAME, PASSWORD).status == 200
    own = {"old_password": secret, "new_password": "Another-passw0rd"}
    assert browser.post_json(f"/api/v2.0/users/{user['user_id']}/password", own, "PUT").status == 403
    profile = {"email": "x@example.com", "realname": "x"}
    assert browser.post_json(f"/api/v2.0/users/{user['user_id']}", profile, "PUT").status == 403
    made = {"username": "local", "password": "Passw0rd-of-a-test", "email": "l@example.com", "realname": "x"}
    assert call("POST", "/users", made).status == 403
    assert call("PUT", "/users/1/cli_secret", {}).status == 403


def test_who_is_deleted_is_new_again(provider: Provider) -> None:
    browser, _ = log_in(provider)
    number = user_of(browser)["user_id"]
    users.delete(number)
    assert browser.get(CURRENT).status == 401
    browser, _ = log_in(provider)
    assert user_of(browser)["user_id"] != number


def test_a_logout_goes_on_to_the_provider_when_that_is_asked(provider: Provider) -> None:
    browser, _ = log_in(provider)
    assert browser.get("/c/log_out").status == 200
    configure(oidc_logout=True)
    browser, _ = log_in(provider)
    response = browser.get("/c/log_out")
    assert response.status == 302
    assert response.headers["Location"].startswith(f"{provider.issuer}/logout?client_id={CLIENT}&post_logout")
    assert browser.get(CURRENT).status == 401


def test_there_is_no_such_way_while_users_have_passwords(cloud: object) -> None:
    browser = Browser()
    assert browser.get("/c/oidc/login").status == 412
    assert browser.get("/c/oidc/callback?code=x&state=y").status == 412
    browser.get("/api/v2.0/systeminfo")
    assert browser.post_json("/c/oidc/onboard", {"username": "x"}).status == 412


Break = Callable[[Provider], None]


@pytest.mark.parametrize(
    "page",
    [
        {"issuer": "https://evil.example.com"},
        {"issuer": None},
        {"token_endpoint": ""},
        {"jwks_uri": 5},
        {"id_token_signing_alg_values_supported": ["none", "HS256"]},
    ],
)
def test_a_discovery_page_that_cannot_be_trusted_is_refused(provider: Provider, page: dict[str, Any]) -> None:
    provider.discovery = page
    assert Browser().get("/c/oidc/login").status == 400
    body = {"url": provider.issuer, "verify_cert": True}
    assert call("POST", "/system/oidc/ping", body).status == 400


def test_endpoints_inside_the_own_network_are_not_called(provider: Provider) -> None:
    """A provider's page may name any address: it is checked as the provider's own is."""
    for address in ("http://169.254.169.254/latest/meta-data", "http://10.0.0.1/token", "http://[::1]/"):
        provider.discovery = {"token_endpoint": address}
        oidc._providers.clear()
        assert_refused(*log_in(provider))


def test_a_provider_is_pinged(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("POST", "/system/oidc/ping", {"url": provider.issuer, "verify_cert": False}).status == 200
    assert call("POST", "/system/oidc/ping", {"url": f"{provider.issuer}/"}).status == 200
    assert call("POST", "/system/oidc/ping", {"url": provider.issuer}, admin=False).status == 401
    monkeypatch.setattr(outbound, "settings", settings)
    outbound.pool.cache_clear()
    for url in (provider.issuer, "http://169.254.169.254", "ftp://x", "", "x" * 5000):
        assert call("POST", "/system/oidc/ping", {"url": url}).status == 400, url
    assert call("POST", "/system/oidc/ping", {"url": 5}).status == 400
