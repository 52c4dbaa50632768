"""The token service, over HTTP as clients speak it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from urllib.parse import urlencode

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.access import members, tokens, users
from chalicelib.access.authentication import ANONYMOUS, authenticate
from chalicelib.access.authorization import authorize
from chalicelib.access.bootstrap import bootstrap
from chalicelib.access.roles import Role
from chalicelib.projects import deletion, rules
from chalicelib.registry.errors import Denied, Unauthorized
from chalicelib.registry.http import Response
from tests.access.support import (
    BASIC,
    NAME,
    PASSWORD,
    basic,
    bearer,
    get_token,
    json_of,
    post_token,
    refresh_token,
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


def test_the_token_says_what_was_asked_and_may_be_with_push_delete(public_project: str, private_project: str) -> None:
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


@pytest.mark.parametrize("length", [10, 200])
def test_of_too_many_scopes_the_first_are_granted_as_many_as_a_header_has_room_for(length: int) -> None:
    response = get_token(BASIC, scope=[f"repository:library/{n:0{length}}:pull,push" for n in range(100)])
    assert response.status == 200
    granted = access(response)
    assert granted
    assert [name for _, name, _ in granted] == [f"library/{n:0{length}}" for n in range(len(granted))]
    assert len(json_of(response)["token"]) < 8000


def test_the_service_may_be_called_as_harbors() -> None:
    assert get_token(service=["harbor-registry"]).status == 200
    assert get_token(service=["registry.docker.io"]).status == 400


def test_docker_login_is_left_with_the_password() -> None:
    """It keeps a refresh token in its place when there is one, and a kubelet cannot use that."""
    assert "refresh_token" not in json_of(get_token(BASIC, offline_token=["true"]))


def bears(token: str, action: str, repository: str) -> bool:
    """Whether a request with the token may do so."""
    sent = request("PUT", f"/v2/{repository}/manifests/v1", bearer(token))
    try:
        authorize(authenticate(sent), action, repository, sent)
    except (Unauthorized, Denied):
        return False
    return True


def test_a_token_ends_with_its_project(make_project: Callable[[str], None]) -> None:
    name = f"gone{uuid.uuid4().hex[:12]}"
    make_project(name)
    token = json_of(get_token(BASIC, scope=[f"repository:{name}/a:pull,push,delete"]))["token"]
    assert all(bears(token, action, f"{name}/a") for action in ("pull", "push", "delete"))
    deletion.delete(rules.get(name))
    make_project(name)
    assert not any(bears(token, action, f"{name}/a") for action in ("pull", "push", "delete"))


def test_a_token_writes_no_longer_than_its_owner_may(private_project: str) -> None:
    user = f"user-{uuid.uuid4().hex[:12]}"
    number = users.create(user, "Passw0rd-of-a-test", f"{user}@example.com", "A user", "").number
    members.add(rules.get(private_project), Role.MAINTAINER, number)
    header = basic(user, "Passw0rd-of-a-test")
    token = json_of(get_token(header, scope=[f"repository:{private_project}/a:pull,push"]))["token"]
    assert bears(token, "push", f"{private_project}/a")
    users.delete(number)
    assert not bears(token, "push", f"{private_project}/a")


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
    refresh = refresh_token(NAME, PASSWORD)
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


def test_an_access_token_is_no_refresh_token_nor_the_reverse() -> None:
    body = {**json_of(get_token(BASIC)), "refresh_token": refresh_token(NAME, PASSWORD)}
    assert post_token(form(grant_type="refresh_token", refresh_token=body["token"])).status == 401
    assert get_token(bearer(body["refresh_token"])).status == 401


def test_nobody_gets_a_refresh_token() -> None:
    assert "refresh_token" not in json_of(get_token(offline_token=["true"]))


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
