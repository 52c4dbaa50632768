"""The requests by which another Harbor replicates to Berth and from it (goharbor/harbor, src/pkg/reg/adapter/harbor).

Pushing is how a Harbor's images move here. Blobs and manifests go by the registry's protocol, as those of any client.
"""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.api import routes as api_routes
from chalicelib.chalice_http import BerthApp
from tests.access.support import basic
from tests.access.test_routes import event
from tests.api.people import content
from tests.api.support import call
from tests.api.test_repository import path
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("administrator")


def test_the_registry_is_known_for_a_harbor_2() -> None:
    """Before anything else, and outside of the API's prefix: without an answer it is taken for a Harbor 1."""
    app = BerthApp(app_name="berth")
    app.register_blueprint(api_routes.blueprint)
    answer = app(event("GET", "/api/version", {}), None)
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"version": "v2.0"})


def test_a_target_is_looked_at_and_its_projects_made() -> None:
    first, second = (f"rep-{uuid.uuid4().hex[:10]}" for _ in range(2))
    assert content(call("GET", "/health"))["status"] == "healthy"
    assert content(call("GET", "/systeminfo"))["harbor_version"].startswith("v2.")
    for name in (first, second):
        assert content(call("GET", f"/projects?name={name}")) == []
        body = {"project_name": name, "metadata": {"public": "false"}}
        assert call("POST", "/projects", body).status == 201
        assert call("POST", "/projects", body).status == 409
    query = quote(f"name={{{first} {second}}}")
    listed = content(call("GET", f"/projects?q={query}&with_detail=false&page=1&page_size=100"))
    assert {each["name"] for each in listed} == {first, second}
    assert isinstance(content(call("GET", "/labels?scope=g&page=1&page_size=100")), list)


def test_a_blob_that_is_to_be_sent_is_looked_for_and_named_nowhere(project: str) -> None:
    """It is sent then. A list of all repositories instead would have Harbor mount it from the first."""
    push_image(f"{project}/app", "v1")
    for digest in (f"sha256:{'0' * 64}", "sha256:x"):
        response = call("GET", f"/repositories?q=blob_digest={digest}&page_size=1&page_number=1")
        assert (content(response), response.headers["X-Total-Count"]) == ([], "0")


def robot(project: str) -> dict[str, str]:
    """What Harbor is told to log in with: a robot of the project, which sees the global labels as well."""
    names = {"repository": "list read pull push", "artifact": "list read", "tag": "list", "label": "list read"}
    access = [{"resource": each, "action": action} for each, actions in names.items() for action in actions.split()]
    grant = {"kind": "project", "namespace": project, "access": access}
    body = {"name": "replicates", "level": "project", "duration": 30, "permissions": [grant]}
    made = content(call("POST", "/robots", body), 201)
    return basic(made["name"], made["secret"])


def test_a_source_is_listed(project: str) -> None:
    digest, _ = push_image(f"{project}/deep/app", "v1")
    headers = robot(project)

    def get(url: str) -> Any:
        return content(call("GET", url, headers=headers, admin=False))

    assert [each["name"] for each in get(f"/projects?name={project}")] == [project]
    repositories = get(f"/projects/{project}/repositories?page=1&page_size=100")
    assert [each["name"] for each in repositories] == [f"{project}/deep/app"]
    artifacts = path(f"{project}/deep/app", "/artifacts?page=1&page_size=100&with_label=true&with_accessory=true")
    [found] = get(artifacts)
    assert (found["digest"], [tag["name"] for tag in found["tags"]]) == (digest, ["v1"])
    assert isinstance(get("/labels?scope=g"), list)
