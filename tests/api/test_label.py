"""Labels, and what carries them, through Harbor's API."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.artifacts import labels
from chalicelib.http import Response
from chalicelib.registry import deletion
from chalicelib.registry.store import labels as table
from tests.access.support import BASIC, basic, bearer, token_for
from tests.api.support import call
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("administrator")


def ok(response: Response, status: int = 200) -> Any:
    assert response.status == status, response.body
    return json.loads(response.body) if response.body else None


def make(name: str, project_id: int | None = None, **more: Any) -> int:
    scope = {"scope": "g"} if project_id is None else {"scope": "p", "project_id": project_id}
    response = call("POST", "/labels", {"name": name, **scope, **more})
    assert response.status == 201, response.body
    return int(response.headers["Location"].rpartition("/")[2])


@pytest.fixture
def project_id(project: str) -> int:
    return int(ok(call("GET", f"/projects/{project}"))["project_id"])


def test_a_label_is_made_found_changed_and_deleted(project_id: int) -> None:
    number = make("stable", project_id, description="Runs in production", color="#0065AB")
    label = ok(call("GET", f"/labels/{number}"))
    assert (label["name"], label["scope"], label["project_id"]) == ("stable", "p", project_id)
    assert ok(call("GET", f"/labels?scope=p&project_id={project_id}")) == [label]
    assert call("PUT", f"/labels/{number}", {"name": "production", "color": ""}).status == 200
    assert ok(call("GET", f"/labels/{number}"))["name"] == "production"
    assert make("stable", project_id) != number  # the old name is free
    assert call("DELETE", f"/labels/{number}").status == 200
    assert call("GET", f"/labels/{number}").status == 404
    assert call("DELETE", f"/labels/{number}").status == 404


def test_a_name_is_taken_once_in_each_scope(project_id: int) -> None:
    name = f"label-{uuid.uuid4().hex[:8]}"
    make(name)
    make(name, project_id)
    assert call("POST", "/labels", {"name": name, "scope": "p", "project_id": project_id}).status == 409
    other = make("other", project_id)
    assert call("PUT", f"/labels/{other}", {"name": name}).status == 409
    assert ok(call("GET", f"/labels/{other}"))["name"] == "other"


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"name": "x", "scope": "q"},
        {"name": "x", "scope": "p"},
        {"name": "x", "scope": "p", "project_id": "1"},
        {"scope": "g"},
        {"name": "", "scope": "g"},
        {"name": " x", "scope": "g"},
        {"name": "x" * 129, "scope": "g"},
        {"name": 5, "scope": "g"},
        {"name": "x", "scope": "g", "color": "x" * 17},
        {"name": "x", "scope": "g", "description": "x" * 3000},
        {"name": "\ud800", "scope": "g"},
    ],
)
def test_what_is_no_label_is_refused(body: dict[str, Any]) -> None:
    assert call("POST", "/labels", body).status == 400


@pytest.mark.parametrize("query", ["", "?scope=x", "?scope=p&project_id=x"])
def test_a_list_needs_a_scope(query: str) -> None:
    assert call("GET", f"/labels{query}").status == 400


@pytest.mark.parametrize("color", ["false", "red", "#FFF", ""])
def test_a_color_is_kept_as_it_is_sent(color: str) -> None:
    """Terraform sends `false` for none, and wants to read it back."""
    number = make(f"colored-{color}", None, color=color)
    assert ok(call("GET", f"/labels/{number}"))["color"] == color
    assert call("DELETE", f"/labels/{number}").status == 200


def test_a_robot_sees_the_global_labels() -> None:
    number = make("for-robots", None)
    pull = [{"resource": "repository", "action": "pull"}]
    robot = {"name": f"bot-{number}", "level": "system", "duration": 1}
    made = ok(call("POST", "/robots", {**robot, "permissions": [_on_all(pull)]}), 201)
    headers = basic(made["name"], made["secret"])
    listed = call("GET", "/labels?scope=g&page=0&page_size=0&project_id=0", headers=headers, admin=False)
    assert number in [each["id"] for each in ok(listed)]
    assert call("GET", f"/labels/{number}", headers=headers, admin=False).status == 200
    assert call("DELETE", f"/labels/{number}", headers=headers, admin=False).status == 403
    assert call("GET", "/labels?scope=g", admin=False).status == 401


def _on_all(access: list[dict[str, str]]) -> dict[str, Any]:
    return {"kind": "project", "namespace": "*", "access": access}


def test_artifacts_carry_labels(project: str, project_id: int) -> None:
    digest, _ = push_image(f"{project}/app", "v1")
    own, shared = make("own", project_id), make(f"shared-{uuid.uuid4().hex[:8]}")
    where = f"/projects/{project}/repositories/app/artifacts"
    for number in (own, shared):
        assert call("POST", f"{where}/v1/labels", {"id": number}).status == 200
        assert call("POST", f"{where}/{digest}/labels", {"id": number}).status == 409
    [artifact] = ok(call("GET", f"{where}?with_label=true"))
    assert [label["id"] for label in artifact["labels"]] == [own, shared]
    assert "labels" not in ok(call("GET", f"{where}/v1"))
    assert call("DELETE", f"{where}/v1/labels/{own}").status == 200
    assert call("DELETE", f"{where}/v1/labels/{own}").status == 404
    assert call("DELETE", f"/labels/{shared}").status == 200
    assert ok(call("GET", f"{where}/v1?with_label=true"))["labels"] is None


def test_a_label_of_another_project_does_not_fit(project_id: int, make_project: Callable[[str], None]) -> None:
    other = f"other{uuid.uuid4().hex[:8]}"
    make_project(other)
    push_image(f"{other}/app", "v1")
    where = f"/projects/{other}/repositories/app/artifacts/v1/labels"
    assert call("POST", where, {"id": make("own", project_id)}).status == 404
    assert call("POST", where, {"id": 999999999}).status == 404
    assert call("POST", where, {"id": "x"}).status == 400


def test_labels_go_with_their_artifact_and_do_not_come_back(project: str, project_id: int) -> None:
    digest, _ = push_image(f"{project}/app", "v1")
    numbers = [make(f"l{index}", project_id) for index in range(25)]
    where = f"/projects/{project}/repositories/app/artifacts/v1/labels"
    for number in numbers:
        assert call("POST", where, {"id": number}).status == 200
    assert call("POST", where, {"id": make("one-too-many", project_id)}).status == 400
    deletion.manifest(f"{project}/app", digest)
    assert table.numbers_of(f"{project}/app", digest) == []
    assert all(table.artifacts_with(number) == [] for number in numbers)


def test_what_a_delete_left_on_an_artifact_goes_when_it_needs_the_room(
    project: str, project_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, _ = push_image(f"{project}/app", "v1")
    numbers = [make(f"l{index}", project_id) for index in range(25)]
    where = f"/projects/{project}/repositories/app/artifacts/v1/labels"
    for number in numbers:
        assert call("POST", where, {"id": number}).status == 200
    with monkeypatch.context() as patch:
        patch.setattr(labels, "_REQUEST_SECONDS", -1.0)
        assert call("DELETE", f"/labels/{numbers[0]}").status == 200
    assert numbers[0] in table.numbers_of(f"{project}/app", digest)
    last = make("last", project_id)
    assert call("POST", where, {"id": last}).status == 200
    assert sorted(table.numbers_of(f"{project}/app", digest)) == [*numbers[1:], last]


def test_a_projects_labels_go_with_it(project: str, project_id: int) -> None:
    number = make("own", project_id)
    assert call("DELETE", f"/projects/{project}").status == 200
    assert call("GET", f"/labels/{number}").status == 404
    assert labels.list_all(project_id) == []


def test_who_may_not_see_a_project_sees_no_labels_of_it(project: str, project_id: int) -> None:
    number = make("own", project_id)
    token = bearer(token_for(BASIC, f"repository:{project}/app:pull"))
    for headers, status in ((None, 401), (token, 403)):
        for asked in (project_id, 999999999):
            url = f"/labels?scope=p&project_id={asked}"
            assert call("GET", url, admin=False, headers=headers).status == status
            body = {"name": "x", "scope": "p", "project_id": asked}
            assert call("POST", "/labels", body, admin=False, headers=headers).status == status
        for method in ("GET", "PUT", "DELETE"):
            assert call(method, f"/labels/{number}", {"name": "x"}, admin=False, headers=headers).status == 404
