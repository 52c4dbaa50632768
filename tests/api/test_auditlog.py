"""The audit log through Harbor's API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.http import Request
from chalicelib.projects import rules
from chalicelib.registry import pulls
from chalicelib.v2.routes import handle
from tests.access.support import BASIC, ORIGIN
from tests.api.people import as_user, content, new_user
from tests.api.support import call
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("administrator")


def logged(project: str, q: str = "", kind: str = "logs") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content(call("GET", f"/projects/{project}/{kind}?page_size=100&q={quote(q)}"))
    return found


def pairs(entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(entry["operation"], entry["resource"]) for entry in entries]


def test_what_the_api_changes_is_told_with_who_and_where_from(project: str) -> None:
    response = call("PUT", f"/projects/{project}", {"metadata": {"public": "true"}})
    assert response.status == 200
    newest = logged(project, kind="auditlog-exts")[0]
    assert (newest["username"], newest["operation"], newest["resource_type"]) == ("admin", "update", "project")
    assert newest["operation_result"] is True
    assert newest["operation_description"] == f"update project: {project}"


def test_the_address_is_the_clients(project: str) -> None:
    request = Request(
        "PUT",
        f"/api/v2.0/projects/{project}",
        {},
        {**BASIC, "content-type": "application/json"},
        b'{"metadata": {"auto_scan": "true"}}',
        ORIGIN,
        address="198.51.100.4",
    )
    from chalicelib.api import dispatch

    assert dispatch.handle(request).status == 200
    assert logged(project, kind="auditlog-exts")[0]["client_address"] == "198.51.100.4"


def test_a_push_a_pull_and_a_delete_by_the_protocol(project: str) -> None:
    repository = f"{project}/app"
    digest, _ = push_image(repository, "v1")
    path = f"/v2/{repository}/manifests/"
    assert handle(Request("GET", f"{path}v1", {}, BASIC, b"", ORIGIN)).status == 200
    assert handle(Request("HEAD", f"{path}v1", {}, BASIC, b"", ORIGIN)).status == 200
    pulls.log.flush()
    pulls.log.flush()
    assert handle(Request("DELETE", f"{path}{digest}", {}, BASIC, b"", ORIGIN)).status == 202
    assert pairs(logged(project))[:3] == [
        ("delete", f"{repository}:{digest}"),
        ("pull", f"{repository}:v1"),
        ("create", f"{repository}:v1"),
    ]
    assert logged(project)[0]["username"] == logged(project)[1]["username"] == "admin"


def test_a_public_projects_pull_is_anonymous(project: str) -> None:
    push_image(f"{project}/app", "v1")
    rules.update(rules.get(project), public=True, metadata={})
    assert handle(Request("GET", f"/v2/{project}/app/manifests/v1", {}, {}, b"", ORIGIN)).status == 200
    pulls.log.flush()
    assert logged(project, "operation=pull")[0]["username"] == "anonymous"


def test_users_robots_and_members_are_told(project: str) -> None:
    name, number = new_user()
    member = {"role_id": 2, "member_user": {"username": name}}
    location = call("POST", f"/projects/{project}/members", member).headers["Location"].removeprefix("/api/v2.0")
    assert call("PUT", location, {"role_id": 3}).status == 200
    assert call("DELETE", location).status == 200
    robot = {
        "name": "r",
        "level": "project",
        "duration": -1,
        "permissions": [
            {"kind": "project", "namespace": project, "access": [{"resource": "repository", "action": "pull"}]}
        ],
    }
    made = content(call("POST", "/robots", robot), 201)
    assert call("PATCH", f"/robots/{made['id']}", {"secret": ""}).status == 200
    assert call("DELETE", f"/robots/{made['id']}").status == 200
    assert pairs(logged(project))[:-1] == [
        ("delete", f"robot${project}+r"),
        ("update", f"robot${project}+r"),
        ("create", f"robot${project}+r"),
        ("delete", name),
        ("update", name),
        ("create", name),
    ]
    assert call("DELETE", f"/users/{number}").status == 200
    found = content(call("GET", f"/audit-logs?q=username=admin,resource={name},resource_type=user"))
    assert pairs(found) == [("delete", name)]
    assert made["secret"] not in json.dumps(content(call("GET", "/auditlog-exts?page_size=100")))


def test_conditions_and_order(project: str) -> None:
    for tag in ("v1", "v2", "v3"):
        push_image(f"{project}/app", tag)
    assert len(logged(project, "operation=create,resource_type=artifact")) == 3
    assert pairs(logged(project, "resource=~:v2")) == [("create", f"{project}/app:v2")]
    assert logged(project, "username=nobody") == []
    response = call("GET", f"/projects/{project}/logs?sort=op_time&page_size=2&page=2")
    assert pairs(content(response)) == [("create", f"{project}/app:v2"), ("create", f"{project}/app:v3")]
    assert response.headers["X-Total-Count"] == "4"
    assert 'rel="prev"' in response.headers["Link"]


def test_a_range_of_times(project: str) -> None:
    moment = datetime.now(UTC)
    past, future = (f"{moment + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}" for hours in (-1, 1))
    assert len(logged(project, f"op_time=[{past}~{future}]")) == 1
    assert len(logged(project, f"operation=create,op_time=[{past}~]")) == 1
    assert logged(project, f"op_time=[{future}~]") == []
    assert logged(project, f"op_time=[~{past}],operation=create") == []
    assert call("GET", f"/projects/{project}/logs?q=op_time=[yesterday~]").status == 400
    assert call("GET", f"/projects/{project}/logs?q=op_time=[~{'9' * 40}]").status == 400


@pytest.mark.parametrize("query", ["q=operation", "page=x", "page_size=101"])
def test_what_cannot_be_asked_is_refused(project: str, query: str) -> None:
    assert call("GET", f"/projects/{project}/logs?{query}").status == 400


@pytest.mark.parametrize(
    "query", ["q=payload=x", "sort=resource", "page=0", "page_size=0", "page=-1", "sort=op_time:desc", "q=OpTime=[~]"]
)
def test_what_is_unknown_or_zero_asks_for_all(project: str, query: str) -> None:
    assert [each["operation"] for each in content(call("GET", f"/projects/{project}/logs?{query}"))] == ["create"]


def test_who_may_read_which_logs(project: str) -> None:
    """The whole log is the administrator's; others read those of the projects that they administer, as in Harbor."""
    owner, _ = new_user()
    guest, _ = new_user()
    for name, role in ((owner, 1), (guest, 3)):
        assert call("POST", f"/projects/{project}/members", {"role_id": role, "member_user": {"username": name}}).status
    of_project = logged(project)
    found = content(as_user(owner, "GET", "/audit-logs?page_size=100"))
    assert found == of_project
    assert content(as_user(owner, "GET", f"/projects/{project}/auditlog-exts"))
    assert content(as_user(guest, "GET", "/audit-logs")) == []
    for kind in ("logs", "auditlog-exts"):
        assert as_user(guest, "GET", f"/projects/{project}/{kind}").status == 403
        assert as_user(guest, "GET", f"/projects/nosuchproject/{kind}").status == 403
        assert call("GET", f"/projects/{project}/{kind}", admin=False).status == 401
        assert call("GET", f"/projects/nosuchproject/{kind}").status == 404
    for path in ("/audit-logs", "/auditlog-exts", "/auditlog-exts/events"):
        assert call("GET", path, admin=False).status == 401


def test_the_log_of_a_deleted_project_stays(project: str) -> None:
    assert call("DELETE", f"/projects/{project}").status == 200
    found = content(call("GET", f"/audit-logs?q=resource={project}"))
    assert pairs(found) == [("delete", project), ("create", project)]


def test_the_types_of_events() -> None:
    names = {each["event_type"] for each in content(call("GET", "/auditlog-exts/events"))}
    assert {"create_artifact", "pull_artifact", "delete_project", "login_user", "update_configuration"} <= names
