"""The requests of Harbor's Terraform provider, resource by resource: apply, plan, change, plan, destroy.

A plan is clean when a GET shows what was sent. The bodies are those of goharbor/terraform-provider-harbor 489db88 (its
folders client/ and models/): Go writes zeros, and leaves out what is marked `omitempty`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from chalicelib.access import configuration
from chalicelib.access.store import configuration as configuration_table
from chalicelib.access.store import users as accounts_table
from chalicelib.settings import settings
from chalicelib.storage.tables.accounts import ConfigurationItem
from tests.api.people import PASSWORD, content
from tests.api.support import call, errors_of

pytestmark = pytest.mark.usefixtures("administrator")

ZERO_TIME = "0001-01-01T00:00:00Z"
"""What Go writes of a time that is not set."""
BOTS_PULL = {"action": "pull", "resource": "repository"}
BOTS_PUSH = {"action": "push", "resource": "repository"}


@dataclass(frozen=True)
class Resource:
    """What the provider sends for one resource. `{project}` in a path is the number of the project that it is in."""

    path: str
    body: Mapping[str, Any]
    change: Mapping[str, Any]
    """What of the body is another in an update."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """What is shown under another name than it is sent."""
    unseen: frozenset[str] = frozenset()
    """What is sent and not compared."""
    is_deleted: bool = True
    """Whether a GET of it is 404 once it is destroyed."""


def selectors(tags: str, extras: str | None = None) -> dict[str, Any]:
    tag = {"kind": "doublestar", "decoration": "matches", "pattern": tags}
    repository = {"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}
    shown = tag if extras is None else {**tag, "extras": extras}
    return {"tag_selectors": [shown], "scope_selectors": {"repository": [repository]}}


def retention_rule(count: int) -> dict[str, Any]:
    chosen = selectors("**", '{"untagged":true}')
    return {
        "disabled": False,
        "action": "retain",
        "template": "latestPushedK",
        "params": {"latestPushedK": count},
        **chosen,
    }


def webhook(**more: Any) -> dict[str, Any]:
    return {
        "update_time": ZERO_TIME,
        "description": "",
        "creator": "",
        "creation_time": ZERO_TIME,
        "enabled": True,
        "targets": [webhook_target()],
        "event_types": ["PUSH_ARTIFACT", "QUOTA_EXCEED", "REPLICATION", "SCANNING_COMPLETED", "TAG_RETENTION"],
        "project_id": 0,
        "id": 0,
        "name": "told",
        **more,
    }


def webhook_target(**more: Any) -> dict[str, Any]:
    target = {"type": "http", "auth_header": "Bearer abc", "skip_cert_verify": False}
    return {**target, "address": "https://203.0.113.9/hook", **more}


def label(name: str, **more: Any) -> dict[str, Any]:
    unset = {"description": "", "color": "false", "deleted": False, "project_id": 0, "id": 0}
    return {**unset, "scope": "g", "name": name, **more}


def resources(project: int, name: str, other: str) -> dict[str, Resource]:
    """Each kind that is made by a POST, with names of its own for this run."""
    permissions = [{"access": [BOTS_PULL], "kind": "project", "namespace": name}]
    metadata = {
        "auto_scan": "false",
        "public": "false",
        "severity": "low",
        "prevent_vul": "false",
        "enable_content_trust": "false",
        "enable_content_trust_cosign": "false",
        "auto_sbom_generation": "false",
        "proxy_speed_kb": "-1",
        "proxy_cache_local_on_not_found": "false",
        "reuse_sys_cve_allowlist": "true",
    }
    return {
        "harbor_project": Resource(
            "/projects",
            {"project_name": other, "storage_limit": -1, "cve_allowlist": {}, "metadata": metadata},
            {"metadata": {**metadata, "public": "true", "severity": "high", "prevent_vul": "true"}},
            renamed={"project_name": "name"},
            unseen=frozenset({"storage_limit"}),
        ),
        "harbor_user": Resource(
            "/users",
            {"username": other, "password": PASSWORD, "realname": "A user", "email": f"{other}@example.com"},
            {"realname": "Another", "email": f"{other}@example.org", "new_password": PASSWORD},
            unseen=frozenset({"password", "new_password"}),
        ),
        "harbor_group": Resource("/usergroups", {"group_name": other, "group_type": 3}, {"group_name": f"{other}-x"}),
        "harbor_project_member_group": Resource(
            "/projects/{project}/members",
            {"role_id": 2, "member_group": {"group_type": 3, "group_name": f"in-{name}"}, "member_user": {}},
            {"role_id": 3},
            unseen=frozenset({"member_group", "member_user"}),
        ),
        "harbor_robot_account of the system": Resource(
            "/robots",
            {
                "name": other,
                "level": "system",
                "duration": -1,
                "permissions": [
                    {"access": [{"action": "list", "resource": "project"}], "kind": "system", "namespace": "/"},
                    {"access": [BOTS_PULL], "kind": "project", "namespace": "*"},
                ],
            },
            {"description": "builds", "disable": True},
            unseen=frozenset({"name"}),  # see below
        ),
        "harbor_robot_account of a project": Resource(
            "/robots",
            {"name": other, "level": "project", "duration": 30, "permissions": permissions},
            {"permissions": [{**permissions[0], "access": [BOTS_PULL, BOTS_PUSH]}]},
            unseen=frozenset({"name"}),
        ),
        "harbor_retention_policy": Resource(
            "/retentions",
            {
                "algorithm": "or",
                "rules": [retention_rule(3)],
                "trigger": {"kind": "Schedule", "references": {}, "settings": {"cron": "0 0 0 * * *"}},
                "scope": {"level": "project", "ref": project},
            },
            {"rules": [retention_rule(5), retention_rule(7)]},
            is_deleted=False,
        ),
        "harbor_project_webhook": Resource(
            "/projects/{project}/webhook/policies",
            webhook(),
            {"enabled": False, "targets": [webhook_target(auth_header="Bearer changed")]},
            unseen=frozenset({"update_time", "creation_time", "creator", "project_id", "id"}),
        ),
        "harbor_label of all": Resource(
            "/labels", label(other), {"color": "#0065AB"}, unseen=frozenset({"deleted", "id"})
        ),
        "harbor_label of a project": Resource(
            "/labels",
            label(other, scope="p", project_id=project),
            {"description": "changed"},
            unseen=frozenset({"deleted", "id"}),
        ),
    }


KINDS = sorted(resources(0, "", ""))


@pytest.fixture
def number(project: str) -> int:
    return int(content(call("GET", f"/projects/{project}"))["project_id"])


@pytest.fixture(autouse=True)
def receivers_may_be_called(monkeypatch: pytest.MonkeyPatch, cloud: dict[str, str]) -> Iterator[None]:
    monkeypatch.setenv("BERTH_OUTBOUND_ALLOWED", "203.0.113.0/24")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_a_resource_is_applied_planned_clean_changed_and_destroyed(kind: str, project: str, number: int) -> None:
    assert call("POST", "/usergroups", {"group_name": f"in-{project}", "group_type": 3}).status == 201
    resource = resources(number, project, f"tf-{uuid.uuid4().hex[:12]}")[kind]
    made = call("POST", resource.path.format(project=number), resource.body)
    assert made.status == 201, made.body
    where = made.headers["Location"].removeprefix("/api/v2.0")
    require_clean(resource, resource.body, content(call("GET", where)))
    changed = {**resource.body, **resource.change}
    if resource.path == "/robots":
        changed["name"] = content(call("GET", where))["name"]  # as it is shown, with its prefix
    assert call("PUT", where, changed).status == 200
    require_clean(resource, changed, content(call("GET", where)))
    assert call("PUT", where, changed).status == 200
    assert call("DELETE", where).status == 200
    assert not resource.is_deleted or call("GET", where).status == 404


def require_clean(resource: Resource, sent: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """What was sent is what is shown, but for what the server adds. Raises AssertionError."""
    for name, value in sent.items():
        if name not in resource.unseen:
            require_same(value, shown[resource.renamed.get(name, name)], name)


def require_same(sent: Any, shown: Any, where: str) -> None:
    if isinstance(sent, Mapping):
        for name, value in sent.items():
            require_same(value, shown[name], f"{where}.{name}")
    elif isinstance(sent, list):
        assert len(sent) == len(shown), where
        for index, value in enumerate(sent):
            require_same(value, shown[index], f"{where}[{index}]")
    else:
        assert sent == shown, where


def test_a_project_keeps_its_quota_and_has_no_scanner(project: str, number: int) -> None:
    """UpdateStorageQuota in client/project.go looks through all quotas, with a slash at the end of the path."""
    assert content(call("GET", "/configurations"))["quota_per_project_enable"]["value"] is True
    page, found = 1, None
    while found is None:
        quotas = content(call("GET", f"/quotas/?page={page}&page_size=100"))
        assert quotas
        found, page = next((each["id"] for each in quotas if each["ref"]["id"] == number), None), page + 1
    assert call("PUT", f"/quotas/{found}", {"hard": {"storage": 5 << 30}}).status == 200
    assert content(call("GET", f"/quotas/{found}"))["hard"]["storage"] == 5 << 30
    assert content(call("GET", f"/projects/{number}/scanner")) == {}
    assert content(call("GET", "/scanners")) == []


def test_a_user_is_made_an_administrator_and_gets_a_password() -> None:
    name = f"tf-{uuid.uuid4().hex[:12]}"
    body = {"username": name, "password": PASSWORD, "realname": name, "email": f"{name}@example.com"}
    where = call("POST", "/users", {**body, "new_password": PASSWORD}).headers["Location"].removeprefix("/api/v2.0")
    with ExitStack() as stack:
        stack.callback(lambda: call("DELETE", where))
        assert call("PUT", f"{where}/sysadmin", {**body, "sysadmin_flag": True}).status == 200
        assert content(call("GET", where))["sysadmin_flag"] is True
        changed = {**body, "password": "Passw0rd-changed", "new_password": "Passw0rd-changed"}
        assert call("PUT", f"{where}/password", changed).status == 200


def test_a_rule_for_immutable_tags_is_found_in_the_list(number: int) -> None:
    """Harbor has no GET of one."""
    where = f"/projects/{number}/immutabletagrules"
    rule = {"disabled": False, "action": "immutable", "template": "immutable_template", **selectors("v*")}
    made = call("POST", where, rule).headers["Location"].removeprefix("/api/v2.0")
    [shown] = content(call("GET", f"{where}?page=1&page_size=100"))
    require_same(rule, shown, "rule")
    changed = {**rule, "id": shown["id"], "disabled": True, **selectors("release-*")}
    assert call("PUT", made, changed).status == 200
    [shown] = content(call("GET", f"{where}?page=1&page_size=100"))
    require_same(changed, shown, "rule")
    assert call("DELETE", made).status == 200
    assert content(call("GET", where)) == []


def test_a_robots_secret_is_set(project: str) -> None:
    body = {"name": f"tf-{project}", "level": "project", "duration": -1}
    permissions = [{"access": [BOTS_PULL], "kind": "project", "namespace": project}]
    made = content(call("POST", "/robots", {**body, "permissions": permissions}), 201)
    assert content(call("GET", "/configurations"))["robot_name_prefix"]["value"] == "robot$"
    assert made["name"] == f"robot${project}+tf-{project}"
    assert content(call("PATCH", f"/robots/{made['id']}", {"secret": PASSWORD})) == {"secret": ""}


def test_a_retention_policy_is_destroyed_by_having_no_rules(number: int) -> None:
    scope = {"level": "project", "ref": number}
    trigger = {"kind": "Schedule", "references": {}, "settings": {"cron": ""}}
    body = {"algorithm": "or", "rules": [retention_rule(3)], "trigger": trigger, "scope": scope}
    where = call("POST", "/retentions", body).headers["Location"].removeprefix("/api/v2.0")
    policy = int(where.rpartition("/")[2])
    assert content(call("GET", f"/projects/{number}"))["metadata"]["retention_id"] == str(policy)
    for rules in ([], None):
        assert call("PUT", where, {**body, "id": policy, "rules": rules}).status == 200
        assert content(call("GET", where))["rules"] == []


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/system/gc/schedule", {"delete_untagged": True, "workers": 2}),
        ("/system/gc/schedule", {}),
        (
            "/system/purgeaudit/schedule",
            {"audit_retention_hour": 24, "include_event_types": "delete_artifact,create_artifact"},
        ),
        ("/system/purgeaudit/schedule", {"audit_retention_hour": 24, "include_operations": "create,pull"}),
    ],
)
def test_a_schedule_is_set_shown_as_sent_and_taken_away(path: str, parameters: dict[str, Any]) -> None:
    """harbor_garbage_collection and harbor_purge_audit_log: SetSchedule in client/system.go."""
    rest = {"creation_time": ZERO_TIME, "update_time": ZERO_TIME}
    assert content(call("GET", path)) == {}
    try:
        for schedule in ({"type": "Daily", "cron": "0 0 0 * * *"}, {"type": "Custom", "cron": "0 30 1 * * *"}):
            assert call("PUT", path, {**rest, "schedule": schedule, "parameters": parameters}).status == 200
            shown = content(call("GET", path))
            require_same(schedule, shown["schedule"], "schedule")
            require_same(parameters, json.loads(shown["job_parameters"]), "parameters")
            assert set(json.loads(shown["job_parameters"])) & {"include_event_types", "include_operations"} == {
                name for name in parameters if name.startswith("include")
            }
    finally:
        body = {**rest, "schedule": {"type": "None"}, "parameters": parameters}
        assert call("PUT", path, body).status == 200
    assert content(call("GET", path)) == {}


def test_the_allowlist_of_cves_is_set() -> None:
    """harbor_config_security."""
    items = [{"cve_id": "CVE-2024-0001"}, {"cve_id": "CVE-2024-0002"}]
    for body in ({"items": items, "expires_at": 1_900_000_000}, {"items": items[:1]}, {}):
        assert call("PUT", "/system/CVEAllowlist", body).status == 200
        shown = content(call("GET", "/system/CVEAllowlist"))
        assert shown["items"] == body.get("items", [])


@pytest.fixture
def unconfigured(cloud: object) -> Iterator[None]:
    def unset() -> None:
        ConfigurationItem(configuration_table.CONFIGURATION, configuration_table.SYSTEM).delete()
        configuration._cache.clear()

    unset()
    yield
    unset()


SYSTEM = {
    "project_creation_restriction": "everyone",
    "read_only": False,
    "robot_token_duration": 30,
    "token_expiration": 30,
    "session_timeout": 60,
    "quota_per_project_enable": True,
    "robot_name_prefix": "robot$",
    "storage_per_project": -1,
    "scanner_skip_update_pulltime": False,
    "skip_audit_log_database": False,
    "banner_message": "",
    "notification_enable": True,
}
OIDC = {
    "oidc_verify_cert": True,
    "oidc_auto_onboard": True,
    "oidc_logout": False,
    "oidc_user_claim": "preferred_username",
    "auth_mode": "oidc_auth",
    "primary_auth_mode": True,
    "self_registration": False,
    "oidc_scope": "openid,email",
    "scan_all_policy": {"parameter": {}},
    "oidc_name": "dex",
    "oidc_client_id": "berth",
    "oidc_endpoint": "https://dex.example.com",
    "oidc_client_secret": "s3cret",
    "oidc_groups_claim": "groups",
    "ldap_scope": 0,
    "ldap_group_search_scope": 0,
    "ldap_verify_cert": False,
    "oidc_admin_group": "admins",
}
UNREAD = {"oidc_client_secret", "scan_all_policy", "ldap_scope", "ldap_group_search_scope", "ldap_verify_cert"}
"""What SetAuthValues in client/config.go does not read of an OIDC configuration."""


@pytest.mark.usefixtures("unconfigured")
@pytest.mark.parametrize("change", [{}, {"token_expiration": 10, "scanner_skip_update_pulltime": True}])
def test_the_system_is_configured(change: dict[str, Any]) -> None:
    """harbor_config_system; there is nothing to destroy."""
    for body in (SYSTEM, {**SYSTEM, **change}):
        assert call("PUT", "/configurations", body).status == 200
        shown = content(call("GET", "/configurations"))
        assert {name: shown[name]["value"] for name in body} == body


@pytest.mark.usefixtures("unconfigured")
def test_logins_by_oidc_are_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """harbor_config_auth, of a registry without users."""
    monkeypatch.setattr(accounts_table, "has_users", lambda: False)
    for body in (OIDC, {**OIDC, "oidc_name": "keycloak", "oidc_group_filter": "^team-"}):
        assert call("PUT", "/configurations", body).status == 200
        shown = content(call("GET", "/configurations"))
        seen = body.keys() - UNREAD
        assert {name: shown[name]["value"] for name in seen} == {name: body[name] for name in seen}
    assert call("PUT", "/configurations", {"auth_mode": "db_auth"}).status == 200


def test_logins_by_ldap_are_refused_by_a_text_that_says_so() -> None:
    response = call("PUT", "/configurations", {"auth_mode": "ldap_auth", "ldap_url": "ldap://example.com"})
    assert (response.status, errors_of(response)) == (400, ["BAD_REQUEST"])


@pytest.mark.parametrize("path", ["/replication/policies", "/p2p/preheat/instances", "/replication/executions"])
def test_what_is_not_built_says_so_when_it_is_made_and_is_gone_when_it_is_read(path: str) -> None:
    """harbor_replication and harbor_preheat_instance."""
    response = call("POST", path, {"name": "x"})
    assert response.status == 501
    assert b"not built in Berth yet" in response.body
    for method in ("GET", "DELETE"):
        if not (method == "DELETE" and path.endswith("executions")):
            assert call(method, f"{path}/1").status == 404


def test_scans_can_be_scheduled_never_alone() -> None:
    """harbor_interrogation_services and harbor_tasks."""
    path, rest = "/system/scanAll/schedule", {"creation_time": ZERO_TIME, "update_time": ZERO_TIME, "parameters": {}}
    assert content(call("GET", path)) == {}
    response = call("PUT", path, {**rest, "schedule": {"type": "Daily", "cron": "0 0 0 * * *"}})
    assert (response.status, b"scanners" in response.body) == (501, True)
    assert call("PUT", path, {**rest, "schedule": {"type": "None"}}).status == 200
