"""The system's configuration through Harbor's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from chalicelib.access import configuration
from chalicelib.access.store import configuration as table
from chalicelib.access.store import users as accounts_table
from chalicelib.events import store as audit
from chalicelib.events import unlogged
from chalicelib.events.records import Actor, Event
from chalicelib.registry import deletion
from chalicelib.settings import settings
from chalicelib.storage.tables.accounts import ConfigurationItem
from tests.access.support import get_token, json_of
from tests.api.contract import SWAGGER, read_swagger
from tests.api.people import as_user, content, new_user
from tests.api.support import call
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("administrator", "unset")


@pytest.fixture
def unset(cloud: object) -> Iterator[None]:
    """Nothing is set, before and after."""
    for _ in ("before", "after"):
        ConfigurationItem(table.CONFIGURATION, table.SYSTEM).delete()
        configuration._cache.clear()
        unlogged.forget()
        yield
        break
    ConfigurationItem(table.CONFIGURATION, table.SYSTEM).delete()
    configuration._cache.clear()
    unlogged.forget()


def put(**values: Any) -> int:
    return call("PUT", "/configurations", values).status


def shown() -> dict[str, Any]:
    return {name: item["value"] for name, item in content(call("GET", "/configurations")).items()}


def test_the_defaults_are_harbors() -> None:
    present = shown()
    assert present["auth_mode"] == "db_auth"
    assert present["project_creation_restriction"] == "everyone"
    assert (present["storage_per_project"], present["quota_per_project_enable"]) == (-1, True)
    assert (present["session_timeout"], present["robot_token_duration"]) == (60, 30)
    assert (present["robot_name_prefix"], present["read_only"]) == ("robot$", False)


def test_what_is_set_is_shown_and_obeyed_at_once() -> None:
    assert put(storage_per_project=1 << 30, session_timeout=5, oidc_scope="openid,email") == 200
    assert put(oidc_name="Keycloak") == 200
    assert (shown()["storage_per_project"], shown()["oidc_name"]) == (1 << 30, "Keycloak")
    assert configuration.current().session_timeout == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"auth_mode": "ldap_auth"},
        {"auth_mode": 1},
        {"project_creation_restriction": "nobody"},
        {"session_timeout": 0},
        {"session_timeout": "60"},
        {"session_timeout": True},
        {"session_timeout": 10**10},
        {"robot_token_duration": -1},
        {"storage_per_project": 0},
        {"storage_per_project": -2},
        {"storage_per_project": 1.5},
        {"quota_per_project_enable": "true"},
        {"oidc_endpoint": "ftp://example.com"},
        {"oidc_endpoint": "https://"},
        {"oidc_endpoint": "http://[::1"},
        {"oidc_scope": "email"},
        {"oidc_group_filter": "("},
        {"oidc_group_filter": "x" * 300},
        {"oidc_extra_redirect_parms": "[]"},
        {"oidc_extra_redirect_parms": '{"a": 1}'},
        {"oidc_client_secret": 5},
        {"oidc_client_secret": "x" * 3000},
        {"banner_message": "x" * 3000},
        {"ldap_url": "ldap://example.com"},
        {"uaa_endpoint": "https://example.com"},
        {"ldap_scope": "2"},
        {"ldap_search_password": "s3cret"},
        {"http_authproxy_endpoint": "https://example.com"},
        {"scan_all_policy": {"type": "daily"}},
        {"scan_all_policy": "none"},
        {"token_expiration": 0},
        {"read_only": True},
        {"robot_name_prefix": "bot+"},
        {"disabled_audit_log_event_types": "create_artifact,no_such"},
        {"disabled_audit_log_event_types": ["create_artifact"]},
        {"skip_audit_log_database": True},
        {"audit_log_forward_endpoint": "logs.example.com:514"},
    ],
)
def test_a_wrong_value_is_refused_and_nothing_is_set(wrong: dict[str, Any]) -> None:
    assert put(oidc_name="set along with it", **wrong) == 400
    assert shown()["oidc_name"] == ""


def test_what_was_shown_can_be_sent_back() -> None:
    assert call("PUT", "/configurations", shown()).status == 200
    assert put(read_only=False) == 200


@pytest.mark.skipif(not SWAGGER.exists(), reason="Harbor's swagger is not here")
def test_every_key_of_harbors_is_shown() -> None:
    """Its command line dereferences each of them."""
    described = read_swagger()["definitions"]["ConfigurationsResponse"]["properties"]
    items = content(call("GET", "/configurations"))
    assert described.keys() <= items.keys()
    assert all(items[name]["value"] is not None for name in described)


@pytest.mark.parametrize(
    "neutral",
    [
        {"ldap_url": "", "ldap_scope": 0, "ldap_group_search_scope": 0, "ldap_verify_cert": False, "ldap_uid": "cn"},
        {"uaa_verify_cert": True, "http_authproxy_verify_cert": False, "ldap_search_password": ""},
        {"scan_all_policy": {"parameter": {}}},
        {"skip_audit_log_database": False, "audit_log_forward_endpoint": ""},
        {"read_only": False, "robot_name_prefix": "robot$", "auth_mode": None, "banner_message": None},
        {"no_such_key": "x", "pull_time_update_disable": True, "count_per_project": -1, "verify_remote_cert": False},
    ],
)
def test_what_changes_nothing_may_be_set(neutral: dict[str, Any]) -> None:
    before = shown()
    assert put(oidc_name="set along with it", **neutral) == 200
    assert shown() == {**before, "oidc_name": "set along with it"}


def test_tokens_live_no_longer_than_is_set_nor_than_the_deployment_says() -> None:
    def seconds() -> int:
        return int(json_of(get_token())["expires_in"])

    assert (shown()["token_expiration"], seconds()) == (settings().token_seconds // 60, settings().token_seconds)
    for minutes in (30, 2):
        assert put(token_expiration=minutes) == 200
        assert shown()["token_expiration"] == minutes
        assert seconds() == min(settings().token_seconds, minutes * 60)


def test_types_of_events_can_be_left_out_of_the_audit_log(project: str) -> None:
    def update_project(public: bool) -> list[str]:
        assert call("PUT", f"/projects/{project}", {"metadata": {"public": str(public).lower()}}).status == 200
        return [each["operation"] for each in content(call("GET", f"/projects/{project}/logs"))]

    assert update_project(True) == ["update", "create"]
    assert put(disabled_audit_log_event_types="update_project, create_artifact") == 200
    assert update_project(False) == ["update", "create"]
    digest, _ = push_image(f"{project}/app", "v1")
    assert update_project(True) == ["update", "create"]
    deletion.manifest(f"{project}/app", digest)
    assert update_project(False) == ["delete", "update", "create"]
    assert put(disabled_audit_log_event_types="") == 200
    assert update_project(True) == ["update", "delete", "update", "create"]
    entries = content(call("GET", "/auditlog-exts?q=resource_type=configuration&page_size=2"))
    assert [each["operation_description"] for each in entries] == [
        "update configuration: disabled_audit_log_event_types"
    ] * 2


def test_an_event_that_is_told_nobody_writes_nothing() -> None:
    assert put(disabled_audit_log_event_types="login_user") == 200
    event = Event("login", "user", "somebody", Actor("somebody"))
    audit.write(event)
    audit.write_all([event])
    assert not audit.exists(event)


def test_a_key_that_cannot_be_changed_is_shown_so() -> None:
    items = content(call("GET", "/configurations"))
    fixed = {name for name, item in items.items() if not item["editable"]}
    assert fixed - {"auth_mode"} == {"read_only", "robot_name_prefix", *configuration.FOREIGN}


def test_the_client_secret_is_kept_in_secrets_manager_and_never_shown() -> None:
    assert put(oidc_client_secret="s3cret-of-the-client", oidc_client_id="berth") == 200
    assert configuration.client_secret() == "s3cret-of-the-client"
    assert put(oidc_client_secret="", oidc_client_id="other") == 200
    assert configuration.client_secret() == "s3cret-of-the-client"
    assert b"s3cret" not in call("GET", "/configurations").body
    items = boto3.client("dynamodb").scan(TableName=settings().accounts_table)["Items"]
    assert "s3cret-of-the-client" not in json.dumps(items, default=str)


def test_only_administrators_see_and_set_it() -> None:
    name, _ = new_user()
    for method in ("GET", "PUT"):
        assert as_user(name, method, "/configurations", {}).status == 403
        assert call(method, "/configurations", {}, admin=False).status == 401


def test_the_auth_mode_stays_while_there_are_users() -> None:
    new_user()
    assert content(call("GET", "/configurations"))["auth_mode"]["editable"] is False
    assert put(auth_mode="oidc_auth") == 400
    assert put(auth_mode="db_auth") == 200


def test_the_auth_mode_changes_while_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_table, "has_users", lambda: False)
    assert put(auth_mode="oidc_auth", oidc_name="dex") == 200
    info = content(call("GET", "/systeminfo", admin=False))
    assert (info["auth_mode"], info["oidc_provider_name"]) == ("oidc_auth", "dex")


def test_of_many_who_change_it_at_once_none_loses_a_change() -> None:
    def change(index: int) -> tuple[str, int]:
        name = ("oidc_name", "banner_message", "oidc_client_id", "oidc_user_claim")[index]
        return name, put(**{name: "changed"})

    with ThreadPoolExecutor(4) as pool:
        answers = dict(pool.map(change, range(4)))
    assert set(answers.values()) == {200}
    present = shown()
    assert {name for name in answers if present[name] == "changed"} == answers.keys()


def test_who_may_make_projects_is_obeyed() -> None:
    name, _ = new_user()
    assert put(project_creation_restriction="adminonly") == 200
    body = {"project_name": f"p-{name}"}
    assert as_user(name, "POST", "/projects", body).status == 403
    assert put(project_creation_restriction="everyone") == 200
    assert as_user(name, "POST", "/projects", body).status == 201


def test_a_robot_without_a_duration_gets_the_configured_one() -> None:
    assert put(robot_token_duration=7) == 200
    access = [{"resource": "repository", "action": "pull"}]
    robot = {
        "name": f"bot-{new_user()[0]}",
        "level": "system",
        "permissions": [{"kind": "project", "namespace": "*", "access": access}],
    }
    made = content(call("POST", "/robots", robot), 201)
    assert content(call("GET", f"/robots/{made['id']}"))["duration"] == 7


def test_the_banner_and_self_registration_are_told_to_all() -> None:
    assert put(banner_message='{"message": "down at noon"}', self_registration=True) == 200
    info = content(call("GET", "/systeminfo", admin=False))
    assert (info["banner_message"], info["self_registration"]) == ('{"message": "down at noon"}', True)
