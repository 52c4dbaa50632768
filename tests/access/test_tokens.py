"""The token service, over HTTP as clients speak it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import settings as deployed
from chalicelib.access import members, token_service, tokens, users
from chalicelib.access.authentication import ANONYMOUS, authenticate
from chalicelib.access.roles import Role
from chalicelib.bootstrap import bootstrap
from chalicelib.http import Response
from chalicelib.projects import rules
from tests.access.support import (
    BASIC,
    NAME,
    PASSWORD,
    basic,
    bearer,
    get_token,
    json_of,
    post_token,
    refresh_token_for,
    request,
)

pytestmark = pytest.mark.usefixtures("administrator")


def access(response: Response) -> list[tuple[str, str, list[str]]]:
    """The access claim of the token in `response`."""
    claims = jwt.decode(json_of(response)["token"], options={"verify_signature": False})
    return [(entry["type"], entry["name"], entry["actions"]) for entry in claims["access"]]


def test_the_answer_is_the_protocols(private_project: str) -> None:
    response = get_token(BASIC, service=["berth"], scope=[f"repository:{private_project}/a:pull"])
    body = json_of(response)
    assert response.status == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert body["token"] == body["access_token"]
    assert body["expires_in"] > 0
    assert body["issued_at"].endswith("Z")
    assert body["scope"] == f"repository:{private_project}/a:pull"
    assert "refresh_token" not in body


def test_the_token_says_no_more_than_was_asked_and_is_permitted(public_project: str, private_project: str) -> None:
    asked = [f"repository:{private_project}/a:push", f"repository:{public_project}/b:pull,push"]
    assert access(get_token(BASIC, scope=asked)) == [
        ("repository", f"{private_project}/a", ["delete", "push"]),
        ("repository", f"{public_project}/b", ["delete", "pull", "push"]),
    ]
    assert access(get_token(scope=asked)) == [("repository", f"{public_project}/b", ["pull"])]


def test_scopes_come_apart_or_in_one_parameter_and_add_up(private_project: str) -> None:
    name = f"repository:{private_project}/a"
    assert access(get_token(BASIC, scope=[f"{name}:pull {name}:push", f"{name}:delete"])) == [
        ("repository", f"{private_project}/a", ["delete", "pull", "push"])
    ]


def test_a_star_is_every_action_and_a_class_is_part_of_the_type(private_project: str) -> None:
    assert access(get_token(BASIC, scope=[f"repository(plugin):{private_project}/a:*"])) == [
        ("repository", f"{private_project}/a", ["delete", "pull", "push"])
    ]


def test_the_catalog_is_granted_to_the_administrator_only() -> None:
    scope = ["registry:catalog:*"]
    assert access(get_token(BASIC, scope=scope)) == [("registry", "catalog", ["*"])]
    assert access(get_token(scope=scope)) == []
    token = json_of(get_token(BASIC, scope=scope))["token"]
    assert authenticate(request("GET", "/v2/_catalog", bearer(token))).sees_catalog


@pytest.mark.parametrize(
    "scope",
    ["", "repository", "repository:", "repository::pull", "repository:a:pull", "repository:a/b", "repository:A/B:pull",
     "repository:../etc:pull", "unknown:a/b:pull", "repository:a/b:fly", "registry:other:*", "::::"],
)  # fmt: skip
def test_a_malformed_or_unknown_scope_grants_nothing(scope: str) -> None:
    response = get_token(BASIC, scope=[scope])
    assert response.status == 200
    assert access(response) == []


def test_an_anonymous_token_of_a_private_project_is_that_of_a_missing_one(private_project: str) -> None:
    for project in (private_project, "no-such-project"):
        assert access(get_token(scope=[f"repository:{project}/a:pull,push"])) == []


@pytest.mark.parametrize(
    "header",
    [*(basic(*pair)["authorization"] for pair in ((NAME, "wrong"), ("nobody", PASSWORD))), "Basic %%%", "Bearer x"],
)
def test_wrong_credentials_are_refused_with_a_basic_challenge(header: str) -> None:
    response = get_token({"authorization": header}, scope=["repository:library/a:pull"])
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="berth"'
    assert json_of(response)["errors"][0]["code"] == "UNAUTHORIZED"
    assert b"token" not in response.body.replace(b"a token is given", b"")


def test_of_many_scopes_the_first_that_fit_are_granted(private_project: str) -> None:
    short = [f"repository:{private_project}/{n}:pull" for n in range(40)]
    assert [name for _, name, _ in access(get_token(BASIC, scope=short))] == [
        f"{private_project}/{n}" for n in range(32)
    ]
    long = [f"repository:{private_project}/{'a' * 200}{n}:pull,push" for n in range(32)]
    response = get_token(BASIC, scope=long)
    granted = [name for _, name, _ in access(response)]
    assert 5 <= len(granted) < 32
    assert granted == [scope.split(":")[1] for scope in long[: len(granted)]]
    assert len(json_of(response)["token"]) < 8000
    assert authenticate(request("GET", "/v2/", bearer(json_of(response)["token"]))).grants


def test_harbors_service_is_this_one_and_another_is_a_bad_request() -> None:
    assert get_token(service=["harbor-registry"]).status == 200
    assert post_token(form(grant_type="password", service="harbor-registry", username="x", password="y")).status == 401
    assert get_token(service=["registry.docker.io"]).status == 400


def test_who_asks_to_push_may_delete_by_the_same_token(private_project: str) -> None:
    name = f"{private_project}/a"
    asked = [f"repository:{name}:pull,push"]
    assert access(get_token(BASIC, scope=asked)) == [("repository", name, ["delete", "pull", "push"])]
    project = rules.get(private_project)
    user = users.create(f"dev-{project.project_id}", "Passw0rd-of-dev", f"d{project.project_id}@example.com", "D", "")
    members.add(project, Role.DEVELOPER, user.number)
    developer = basic(f"dev-{project.project_id}", "Passw0rd-of-dev")
    assert access(get_token(developer, scope=asked)) == [("repository", name, ["pull", "push"])]


def test_docker_login_keeps_the_password_unless_a_setting_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "refresh_token" not in json_of(get_token(BASIC, offline_token=["true"]))
    monkeypatch.setattr(token_service, "settings", lambda: replace(deployed.settings(), refresh_tokens=True))
    body = json_of(get_token(BASIC, offline_token=["true"]))
    account = tokens.verify_refresh(body["refresh_token"])
    assert account is not None
    assert account.username == NAME
    assert "refresh_token" not in json_of(get_token(offline_token=["true"]))  # nobody gets one
    assert get_token(bearer(body["refresh_token"])).status == 401


def form(**fields: str) -> str:
    return urlencode({"service": "berth", "client_id": "test", **fields})


def test_the_password_grant(private_project: str) -> None:
    fields = {"grant_type": "password", "username": NAME, "scope": f"repository:{private_project}/a:pull"}
    response = post_token(form(**fields, password=PASSWORD))
    assert access(response) == [("repository", f"{private_project}/a", ["pull"])]
    assert "refresh_token" not in json_of(response)
    assert post_token(form(**fields, password="wrong")).status == 401
    assert post_token(form(**fields)).status == 401


def test_a_refresh_token_gives_access_until_the_password_changes(private_project: str) -> None:
    refresh = refresh_token_for(NAME, PASSWORD)
    scope = f"repository:{private_project}/a:pull"
    response = post_token(form(grant_type="refresh_token", refresh_token=refresh, scope=scope))
    assert access(response) == [("repository", f"{private_project}/a", ["pull"])]
    assert json_of(response)["refresh_token"] == refresh
    bootstrap(NAME, "another")
    assert post_token(form(grant_type="refresh_token", refresh_token=refresh, scope=scope)).status == 401


def test_the_password_grant_gives_a_refresh_token_when_asked() -> None:
    sent = form(grant_type="password", username=NAME, password=PASSWORD, access_type="offline")
    refresh = json_of(post_token(sent))["refresh_token"]
    account = tokens.verify_refresh(refresh)
    assert account is not None
    assert account.username == NAME


def test_an_access_token_is_no_refresh_token() -> None:
    body = json_of(get_token(BASIC))
    assert post_token(form(grant_type="refresh_token", refresh_token=body["token"])).status == 401


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (form(grant_type="client_credentials"), "application/x-www-form-urlencoded"),
        (form(), "application/x-www-form-urlencoded"),
        ("", "application/x-www-form-urlencoded"),
        ("grant_type=%ff", "application/x-www-form-urlencoded"),
        ("a=1&" * 200, "application/x-www-form-urlencoded"),
        ("x" * 70_000, "application/x-www-form-urlencoded"),
        ('{"grant_type": "password"}', "application/json"),
        (form(grant_type="password"), ""),
    ],
)
def test_a_malformed_form_is_a_bad_request(body: str, content_type: str) -> None:
    assert post_token(body, content_type).status == 400


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=60), max_size=5), st.text(max_size=20), st.text(max_size=80))
def test_no_request_is_answered_by_a_fault(scopes: list[str], service: str, body: str) -> None:
    assert get_token(scope=scopes, service=[service]).status in (200, 400)
    body = body.encode(errors="ignore").decode()
    assert post_token(f"grant_type=refresh_token&refresh_token={body}").status in (200, 400, 401)


@given(st.lists(st.text(max_size=60), max_size=5))
def test_nobody_is_never_granted_a_push(scopes: list[str]) -> None:
    asked = [*scopes, *(f"repository:{scope}:push" for scope in scopes)]
    assert all("push" not in entry["actions"] for entry in tokens._granted(ANONYMOUS, asked))
