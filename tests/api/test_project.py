from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.access.support import BASIC, bearer, token_for
from tests.api.people import content
from tests.api.support import call, errors_of
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("administrator")

JSON = {"content-type": "application/json"}


@pytest.fixture
def create() -> Callable[..., str]:
    def make(*, public: bool = False, name: str = "") -> str:
        name = name or f"team-{uuid.uuid4().hex[:12]}"
        body = {"project_name": name, "metadata": {"public": "true" if public else "false"}}
        assert call("POST", "/projects", body).status == 201
        return name

    return make


def show(name: str, **headers: str) -> dict[str, Any]:
    response = call("GET", f"/projects/{name}", headers=headers)
    assert response.status == 200
    project: dict[str, Any] = json.loads(response.body)
    return project


def names(url: str, **kwargs: Any) -> list[str]:
    response = call("GET", url, **kwargs)
    assert response.status == 200, response.body
    return [project["name"] for project in json.loads(response.body)]


def test_a_project_is_created_at_its_location(create: Callable[..., str]) -> None:
    name = f"team-{uuid.uuid4().hex[:12]}"
    response = call("POST", "/projects", {"project_name": name, "metadata": {"public": "true"}})
    project = show(name)
    assert response.headers["Location"] == f"/api/v2.0/projects/{project['project_id']}"
    assert project["metadata"] == {"public": "true"}
    assert project["owner_name"] == "admin"
    assert project["repo_count"] == 0
    assert datetime.fromisoformat(project["creation_time"])


def test_the_location_holds_the_name_when_asked() -> None:
    name = f"team-{uuid.uuid4().hex[:12]}"
    response = call("POST", "/projects", {"project_name": name}, headers={"x-resource-name-in-location": "true"})
    assert response.headers["Location"] == f"/api/v2.0/projects/{name}"
    assert show(name)["metadata"] == {"public": "false"}


def test_the_deprecated_public_field_counts_when_metadata_is_silent() -> None:
    name = f"team-{uuid.uuid4().hex[:12]}"
    assert call("POST", "/projects", {"project_name": name, "public": True, "metadata": {}}).status == 201
    assert show(name)["metadata"] == {"public": "true"}


def test_a_taken_name_conflicts(create: Callable[..., str]) -> None:
    response = call("POST", "/projects", {"project_name": create()})
    assert (response.status, errors_of(response)) == (409, ["CONFLICT"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "text",
        {"project_name": None},
        {"project_name": 7},
        {"project_name": "Upper"},
        {"project_name": "a" * 256},
        {"project_name": "fine", "metadata": "public"},
        {"project_name": "fine", "metadata": {"public": True}},
        {"project_name": "fine", "metadata": {"public": ["true"]}},
        {"project_name": "fine", "metadata": {"prevent_vul": "yes"}},
        {"project_name": "fine", "registry_id": 0},
        {"project_name": "fine", "registry_id": 999999999},
        {"project_name": "fine", "registry_id": "1"},
        {"project_name": "fine", "storage_limit": -2},
        {"project_name": "fine", "storage_limit": "1 GiB"},
    ],
)
def test_a_malformed_or_unsupported_project_is_a_bad_request(body: Any) -> None:
    response = call("POST", "/projects", body)
    assert (response.status, errors_of(response)) == (400, ["BAD_REQUEST"])


def test_a_number_for_a_name_is_a_name_when_the_header_says_so(create: Callable[..., str]) -> None:
    name = create(name=str(uuid.uuid4().int % 10**12))
    assert show(name, **{"x-is-resource-name": "true"})["name"] == name
    assert call("GET", f"/projects/{name}").status == 404
    assert show(str(show(name, **{"x-is-resource-name": "true"})["project_id"]))["name"] == name


@pytest.mark.parametrize("reference", ["no-such-project", "999999999", "9" * 400, "%2e%2e", "a|b", "²"])
def test_a_missing_project_is_not_found_by_the_administrator(reference: str) -> None:
    response = call("GET", f"/projects/{reference}")
    assert (response.status, errors_of(response)) == (404, ["NOT_FOUND"])


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_nobody_can_tell_a_private_project_from_a_missing_one(method: str, create: Callable[..., str]) -> None:
    private = create()
    number = show(private)["project_id"]
    answers = [
        call(method, f"/projects/{reference}", admin=False) for reference in (private, number, "missing", 999999999)
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    token = bearer(token_for(BASIC, f"repository:{private}/a:pull"))
    with_token = [
        call(method, f"/projects/{each}", headers=token, admin=False) for each in (private, "missing", number)
    ]
    assert {answer.status for answer in with_token} == {403}
    assert len({answer.body for answer in with_token}) == 1


def test_head_tells_of_projects_that_the_caller_may_see(create: Callable[..., str]) -> None:
    public, private = create(public=True), create()
    assert call("HEAD", f"/projects?project_name={private}").status == 200
    assert call("HEAD", f"/projects?project_name={public}", admin=False).status == 200
    hidden = call("HEAD", f"/projects?project_name={private}", admin=False)
    missing = call("HEAD", "/projects?project_name=no-such-project", admin=False)
    assert hidden.status == missing.status == 404
    assert call("HEAD", "/projects").status == 400


def test_nobody_creates_or_deletes_without_logging_in(create: Callable[..., str]) -> None:
    public = create(public=True)
    token = bearer(token_for(BASIC, f"repository:{public}/a:push"))
    assert call("POST", "/projects", {"project_name": "mine"}, admin=False).status == 401
    assert call("POST", "/projects", {"project_name": "mine"}, admin=False, headers=token).status == 403
    assert call("DELETE", f"/projects/{public}", admin=False).status == 401
    assert call("DELETE", f"/projects/{public}", admin=False, headers=token).status == 403
    assert show(public)["name"] == public


def test_wrong_credentials_are_401_in_harbors_form() -> None:
    response = call("GET", "/projects", headers={"authorization": "Basic bm86bm8="})
    assert (response.status, errors_of(response)) == (401, ["UNAUTHORIZED"])
    assert "WWW-Authenticate" not in response.headers


def test_an_empty_project_is_deleted_and_one_with_repositories_is_not(create: Callable[..., str]) -> None:
    empty, full = create(), create()
    push_image(f"{full}/app")
    assert call("DELETE", f"/projects/{empty}").status == 200
    assert call("GET", f"/projects/{empty}").status == 404
    response = call("DELETE", f"/projects/{full}")
    assert (response.status, errors_of(response)) == (412, ["PRECONDITION"])
    assert show(full)["repo_count"] == 1


def test_the_list_shows_nobody_the_public_projects_only(create: Callable[..., str]) -> None:
    mark = uuid.uuid4().hex[:10]
    public, private = create(name=f"{mark}-open", public=True), create(name=f"{mark}-shut")
    assert names(f"/projects?name={mark}") == [public, private]
    assert names(f"/projects?name={mark}", admin=False) == [public]
    assert names(f"/projects?name={mark}&public=false") == [private]
    assert names(f"/projects?name={mark}&public=true") == [public]
    assert names(f"/projects?name={mark}&public=false", admin=False) == []
    assert names(f"/projects?name={mark}&owner=someone") == []


def test_the_list_comes_in_pages(create: Callable[..., str]) -> None:
    mark = uuid.uuid4().hex[:10]
    made = [create(name=f"{mark}-{number}") for number in range(5)]
    seen, url = [], f"/projects?name={mark}&page=1&page_size=2"
    while url:
        response = call("GET", url)
        assert response.headers["X-Total-Count"] == "5"
        seen += [project["name"] for project in json.loads(response.body)]
        links = dict(
            reversed(link.strip().removeprefix("<").split('>; rel="'))
            for link in response.headers.get("Link", "").split(" , ")
            if link
        )
        url = links.get('next"', "").removeprefix("/api/v2.0")
    assert seen == made
    assert 'rel="prev"' in response.headers["Link"]


@pytest.mark.parametrize(
    "query",
    [
        "page=x",
        "page=1.5",
        "page=+1",
        "page_size=101",
        "page=9999999999999",
        f"page={'9' * 5000}",
        "page=²",
        "public=maybe",
    ],
)
def test_a_page_out_of_range_is_a_bad_request(query: str) -> None:
    assert call("GET", f"/projects?{query}").status == 400


@pytest.mark.parametrize("page", ["0", "-1", "1", "01", "", "-999999999999999999999"])
def test_page_0_and_what_is_below_it_is_the_first(page: str) -> None:
    first = content(call("GET", "/projects?page_size=3"))
    assert content(call("GET", f"/projects?page_size=3&page={page}")) == first


@pytest.mark.parametrize("size", ["0", "-1"])
def test_a_page_of_size_0_is_as_large_as_a_page_can_be(make_project: Any, project: str, size: str) -> None:
    """Harbor sets no limit then; here `X-Total-Count` and `Link` say what is left."""
    response = call("GET", f"/projects?page=0&page_size={size}")
    assert len(content(response)) == min(100, int(response.headers["X-Total-Count"]))
    everybody = call("GET", f"/users?page=0&page_size={size}")
    assert len(content(everybody)) == int(everybody.headers["X-Total-Count"])


@pytest.mark.parametrize(("word", "is_public"), [("1", True), ("T", True), ("yes", True), ("on", True), ("0", False)])
def test_a_parameter_says_true_in_any_word_that_harbors_router_takes(word: str, is_public: bool) -> None:
    shown = content(call("GET", f"/projects?public={word}"))
    assert {each["metadata"]["public"] for each in shown} == {str(is_public).lower()}


def test_a_setting_that_is_unknown_is_dropped(project: str) -> None:
    """As of a client that is newer than the server."""
    metadata = {"public": "true", "of_a_newer_harbor": "x"}
    assert call("PUT", f"/projects/{project}", {"metadata": metadata}).status == 200
    shown = content(call("GET", f"/projects/{project}"))["metadata"]
    assert (shown["public"], "of_a_newer_harbor" in shown) == ("true", False)
    assert call("POST", f"/projects/{project}/metadatas/", {"of_a_newer_harbor": "x"}).status == 400
