"""Quotas by Harbor's API: listed, shown, changed, and told of in summaries and statistics."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from chalicelib.access import configuration
from chalicelib.access.members import add as add_member
from chalicelib.access.roles import Role
from chalicelib.oci.errors import QuotaExceeded
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from tests.access.support import basic
from tests.api.people import as_user, content, new_user
from tests.api.support import call, errors_of
from tests.registry.accounting import used
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("administrator")

GIB = 1 << 30


def make(**body: Any) -> Project:
    name = f"quota-{uuid.uuid4().hex[:12]}"
    assert call("POST", "/projects", {"project_name": name, **body}).status == 201
    return rules.get(name)


def quota(project: Project) -> dict[str, Any]:
    shown: dict[str, Any] = content(call("GET", f"/quotas/{project.project_id}"))
    return shown


def listed(query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content(call("GET", f"/quotas?page_size=100{query}"))
    return found


def robot(*actions: str, resource: str = "quota") -> dict[str, str]:
    """The credentials of a robot of the system that may do `actions`."""
    access = [{"resource": resource, "action": action} for action in actions]
    body = {
        "name": f"r{uuid.uuid4().hex[:12]}",
        "level": "system",
        "duration": -1,
        "permissions": [{"kind": "system", "namespace": "/", "access": access}],
    }
    made = content(call("POST", "/robots", body), 201)
    return basic(made["name"], made["secret"])


@pytest.fixture
def project() -> Project:
    return make(storage_limit=GIB)


def test_a_project_is_made_with_a_limit_and_shown_with_what_it_stores(project: Project) -> None:
    _, manifest = push_image(f"{project.name}/app")
    shown = quota(project)
    assert shown["id"] == project.project_id
    assert shown["ref"] == {"id": project.project_id, "name": project.name, "owner_name": "admin"}
    assert shown["hard"] == {"storage": GIB}
    assert shown["used"] == {"storage": 16 + 2 * 32 + len(manifest)}
    summary = content(call("GET", f"/projects/{project.name}/summary"))
    assert summary["quota"] == {"hard": shown["hard"], "used": shown["used"]}


@pytest.mark.parametrize("body", [{}, {"storage_limit": 0}, {"storage_limit": None}, {"storage_limit": -1}])
def test_a_project_without_a_limit_of_its_own_has_the_default(body: dict[str, Any]) -> None:
    assert quota(make(**body))["hard"] == {"storage": configuration.current().storage_per_project}


def test_a_limit_is_enforced_raised_lowered_and_lifted(project: Project) -> None:
    push_image(f"{project.name}/app", "v1")
    url = f"/quotas/{project.project_id}"
    assert call("PUT", url, {"hard": {"storage": 10}}).status == 200  # less than is stored
    with pytest.raises(QuotaExceeded):
        push_image(f"{project.name}/app", "v2")
    assert quota(project)["hard"] == {"storage": 10}
    for limit in (GIB, -1):
        assert call("PUT", url, {"hard": {"storage": limit}}).status == 200
        push_image(f"{project.name}/app", "v2")
    assert quota(project)["used"] == {"storage": used(project.name)}


def test_a_project_is_given_a_limit_with_its_other_settings(project: Project) -> None:
    body = {"metadata": {"public": "true"}, "storage_limit": 5}
    assert call("PUT", f"/projects/{project.name}", body).status == 200
    assert quota(project)["hard"] == {"storage": 5}
    assert call("PUT", f"/projects/{project.name}", {"metadata": {"public": "false"}}).status == 200
    assert quota(project)["hard"] == {"storage": 5}
    assert call("PUT", f"/projects/{project.name}", {"storage_limit": -7}).status == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"hard": {}},
        {"hard": None},
        {"hard": 5},
        {"hard": {"storage": 0}},
        {"hard": {"storage": -2}},
        {"hard": {"storage": 1.5}},
        {"hard": {"storage": "1"}},
        {"hard": {"storage": True}},
        {"hard": {"storage": 2**60}},
        {"hard": {"count": 5}},
        {"hard": {"storage": 5, "count": 5}},
    ],
)
def test_a_malformed_limit_is_refused(project: Project, body: dict[str, Any]) -> None:
    response = call("PUT", f"/quotas/{project.project_id}", body)
    assert (response.status, errors_of(response)) == (400, ["BAD_REQUEST"])
    assert quota(project)["hard"] == {"storage": GIB}


def test_there_is_no_quota_without_a_project() -> None:
    for number in ("999999999", "0", "none", "-1"):
        assert call("GET", f"/quotas/{number}").status == 404
        assert call("PUT", f"/quotas/{number}", {"hard": {"storage": 1}}).status == 404


def test_quotas_are_for_the_administrator_and_for_robots_that_were_given_them(project: Project) -> None:
    user, number = new_user()
    add_member(project, Role.PROJECT_ADMIN, number)
    url, body = f"/quotas/{project.project_id}", {"hard": {"storage": 7}}
    for method, path, sent in (("GET", "/quotas", None), ("GET", url, None), ("PUT", url, body)):
        assert as_user(user, method, path, sent).status == 403
        assert call(method, path, sent, admin=False).status == 401
    reader, writer = robot("read", "list"), robot("update")
    assert call("GET", "/quotas", headers=reader, admin=False).status == 200
    assert call("GET", url, headers=reader, admin=False).status == 200
    assert call("PUT", url, body, headers=reader, admin=False).status == 403
    assert call("GET", url, headers=writer, admin=False).status == 403
    assert call("PUT", url, body, headers=writer, admin=False).status == 200
    assert quota(project)["hard"] == {"storage": 7}


def test_users_who_make_or_change_a_project_set_no_limit() -> None:
    user, _ = new_user()
    name = f"own-{uuid.uuid4().hex[:12]}"
    assert as_user(user, "POST", "/projects", {"project_name": name, "storage_limit": 5}).status == 201
    assert as_user(user, "PUT", f"/projects/{name}", {"storage_limit": 6}).status == 200
    assert quota(rules.get(name))["hard"] == {"storage": configuration.current().storage_per_project}


def test_a_summary_tells_of_the_quota_to_members_only() -> None:
    project = make(metadata={"public": "true"}, storage_limit=GIB)
    (member, number), (stranger, _) = new_user(), new_user()
    add_member(project, Role.LIMITED_GUEST, number)
    url = f"/projects/{project.name}/summary"
    assert content(as_user(member, "GET", url))["quota"]["hard"] == {"storage": GIB}
    assert "quota" not in content(as_user(stranger, "GET", url))


def test_a_quota_that_is_not_there_is_called_one() -> None:
    for method in ("GET", "PUT"):
        response = call(method, "/quotas/999999", {"hard": {"storage": 1}} if method == "PUT" else None)
        assert (response.status, b"quota 999999" in response.body) == (404, True)


def test_quotas_are_listed_by_page_filtered_and_sorted() -> None:
    small, large, unlimited = make(storage_limit=1000), make(storage_limit=2000), make()
    push_image(f"{unlimited.name}/app")
    own = {each.project_id for each in (small, large, unlimited)}

    def order(sort: str) -> list[int]:
        """Ours, in the order of the whole list."""
        found: list[int] = []
        page = 1
        while part := content(call("GET", f"/quotas?page_size=100&page={page}{sort}")):
            found += [each["id"] for each in part if each["id"] in own]
            page += 1
        return found

    numbers = [each.project_id for each in (small, large, unlimited)]
    assert order("") == numbers[::-1]  # the newest first
    assert order("&sort=creation_time") == numbers
    assert order("&sort=hard.storage") == numbers  # no limit is more than any
    assert order("&sort=-hard.storage") == numbers[::-1]
    assert order("&sort=-used.storage")[0] == unlimited.project_id
    assert order("&sort=used.storage")[-1] == unlimited.project_id
    [only] = listed(f"&reference=project&reference_id={small.project_id}")
    assert only["id"] == small.project_id
    assert listed(f"&reference=repository&reference_id={small.project_id}") == []
    assert listed("&reference_id=nothing") == []
    response = call("GET", "/quotas?page_size=1&page=2")
    assert len(json.loads(response.body)) == 1
    assert int(response.headers["X-Total-Count"]) >= 3
    assert 'rel="next"' in response.headers["Link"]
    assert call("GET", "/quotas?sort=size").status == 200
    assert {each.project_id for each in (small, large)} <= {
        each["id"] for each in content(call("GET", "/quotas?page_size=0"))
    }


def test_volumes_are_what_is_stored_and_without_end() -> None:
    def volume() -> tuple[int, int]:
        [found] = content(call("GET", "/systeminfo/volumes"))["storage"]
        return found["total"], found["free"]

    total, free = volume()
    _, manifest = push_image(f"{make().name}/app")
    assert volume() == (total, free - 16 - 2 * 32 - len(manifest))
    assert call("GET", "/systeminfo/volumes", admin=False).status == 401
    assert as_user(new_user()[0], "GET", "/systeminfo/volumes").status == 403
    given, other = robot("read", resource="system-volumes"), robot("read")
    assert call("GET", "/systeminfo/volumes", headers=given, admin=False).status == 200
    assert call("GET", "/systeminfo/volumes", headers=other, admin=False).status == 403
