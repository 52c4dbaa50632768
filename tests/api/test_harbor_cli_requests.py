"""The requests of Harbor's command line (goharbor/harbor-cli d98afec), by which it looks for what a user names.

It is built on goharbor/go-client, which sends the zeros of what its caller leaves out.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.api.people import content, new_user
from tests.api.support import call
from tests.api.test_repository import path
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("administrator")

ZEROS = "page=0&page_size=0"


@pytest.fixture
def number(project: str) -> int:
    return int(content(call("GET", f"/projects/{project}"))["project_id"])


def test_a_label_is_found_by_its_name_among_all_and_deleted(number: int) -> None:
    name = f"cli-{uuid.uuid4().hex[:8]}"
    assert call("POST", "/labels", {"name": name, "scope": "g", "color": "#FFFFFF"}).status == 201
    assert call("POST", "/labels", {"name": name, "scope": "p", "project_id": number}).status == 201
    for query in (f"{ZEROS}&project_id=0&scope=g", f"{ZEROS}&project_id={number}&scope=p"):
        [found] = [each for each in content(call("GET", f"/labels?{query}")) if each["name"] == name]
        assert call("DELETE", f"/labels/{found['id']}").status == 200


def test_a_user_is_found_among_all_and_elevated() -> None:
    name, number = new_user()
    response = call("GET", f"/users?{ZEROS}")
    listed = {each["username"]: each["user_id"] for each in content(response)}
    assert int(response.headers["X-Total-Count"]) == len(listed)
    assert listed[name] == number
    assert call("PUT", f"/users/{number}/sysadmin", {"sysadmin_flag": True}).status == 200
    assert call("DELETE", f"/users/{number}").status == 200


@pytest.mark.parametrize(
    "where",
    [
        "/quotas?page=1&page_size=0",
        f"/quotas?{ZEROS}&reference=&reference_id=&sort=",
        f"/registries?name=hub2&{ZEROS}",
        f"/registries?q=&sort=&{ZEROS}",
        f"/projects?name=&{ZEROS}&with_detail=true",
        f"/usergroups?{ZEROS}&group_name=&ldap_group_dn=",
        f"/schedules?{ZEROS}",
        f"/audit-logs?{ZEROS}",
        "/auditlog-exts?q=operation%3Dcreate&sort=op_time:desc&page=1&page_size=10",
        f"/robots?{ZEROS}",
        f"/scanners?{ZEROS}",
        f"/replication/policies?{ZEROS}",
        f"/p2p/preheat/instances?{ZEROS}",
        f"/system/gc?{ZEROS}",
        f"/system/purgeaudit?{ZEROS}",
        f"/security/vul?{ZEROS}",
    ],
)
def test_lists_of_the_system_are_shown(where: str) -> None:
    response = call("GET", where)
    assert isinstance(content(response), list)
    assert int(response.headers["X-Total-Count"]) >= 0


@pytest.mark.parametrize(
    "where",
    [
        "members",
        "repositories",
        "artifacts",
        "logs",
        "auditlog-exts",
        "immutabletagrules",
        "webhook/policies",
        "scanner/candidates",
        "preheat/policies",
    ],
)
def test_lists_of_a_project_are_shown(where: str, project: str) -> None:
    """By its name, which the client says is one."""
    headers = {"x-is-resource-name": "true"}
    assert isinstance(content(call("GET", f"/projects/{project}/{where}?{ZEROS}", headers=headers)), list)


def test_a_projects_robots_are_asked_for_by_a_query_that_is_encoded_twice(project: str, number: int) -> None:
    permissions = [{"kind": "project", "namespace": project, "access": [{"resource": "repository", "action": "pull"}]}]
    body = {"name": "cli", "level": "project", "duration": 30, "permissions": permissions}
    made = content(call("POST", "/robots", body), 201)
    query = f"Level%253Dproject%252CProjectID%253D{number}"
    assert [each["name"] for each in content(call("GET", f"/robots?page=1&page_size=10&q={query}"))] == [made["name"]]


def test_every_setting_is_shown() -> None:
    """`config view` reads the value of each; that none is missing is in tests/api/test_configure.py."""
    items: dict[str, dict[str, Any]] = content(call("GET", "/configurations"))
    assert {"ldap_url", "uaa_endpoint", "http_authproxy_endpoint", "skip_audit_log_database"} <= items.keys()
    assert all({"value", "editable"} <= item.keys() for item in items.values())


def test_an_immutable_tag_is_made_of_selectors_without_a_kind(project: str) -> None:
    rule = {
        "action": "immutable",
        "template": "immutable_template",
        "scope_selectors": {"repository": [{"decoration": "repoMatches", "pattern": "**"}]},
        "tag_selectors": [{"decoration": "matches", "pattern": "v*"}],
    }
    assert call("POST", f"/projects/{project}/immutabletagrules", rule).status == 201


def test_an_artifact_is_listed_labelled_and_not_scanned(project: str) -> None:
    digest, _ = push_image(f"{project}/app", "v1")
    shown = f"{ZEROS}&with_tag=true&with_label=1&with_scan_overview=false&with_sbom_overview=0&with_accessory=t"
    [listed] = content(call("GET", path(f"{project}/app", f"/artifacts?{shown}")))
    assert listed["digest"] == digest
    assert content(call("GET", path(f"{project}/app", f"/artifacts/v1/tags?{ZEROS}")))[0]["name"] == "v1"
    assert content(call("GET", path(f"{project}/app", "/artifacts/v1/additions/vulnerabilities"))) == {}
    response = call("POST", path(f"{project}/app", "/artifacts/v1/scan"), {"scan_type": "vulnerability"})
    assert (response.status, b"not built in Berth yet: scanners" in response.body) == (501, True)
