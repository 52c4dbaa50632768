"""Repositories, artifacts and tags through Harbor's API."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.artifacts import repository_deletion
from chalicelib.http import Response
from chalicelib.oci import manifests
from chalicelib.oci.errors import ManifestUnknown
from chalicelib.projects import rules
from chalicelib.registry import pull, push
from chalicelib.registry.store import repositories
from chalicelib.storage import aws_json
from tests.access.support import BASIC, bearer, token_for
from tests.api.support import call, errors_of
from tests.jobs.support import SECONDS
from tests.registry.images import CONFIG, LAYER, image, index, push_blob, push_image

pytestmark = pytest.mark.usefixtures("administrator")


def path(repository: str, rest: str = "", encode: int = 2) -> str:
    """The URL of a repository in the API, the slashes of its name encoded `encode` times. Handlers see one less."""
    project, _, name = repository.partition("/")
    for _ in range(encode - 1):
        name = quote(name, safe="")
    return f"/projects/{project}/repositories/{name}{rest}"


def ok(response: Response, status: int = 200) -> Any:
    assert response.status == status, response.body
    return json.loads(response.body) if response.body else None


def test_a_push_shows_in_the_lists(project: str) -> None:
    digest, content = push_image(f"{project}/app", "v1")
    [listed] = ok(call("GET", f"/projects/{project}/repositories"))
    assert listed["name"] == f"{project}/app"
    assert listed["artifact_count"] == 1
    assert ok(call("GET", path(f"{project}/app"))) == listed
    [artifact] = ok(call("GET", path(f"{project}/app", "/artifacts")))
    assert artifact["digest"] == digest
    assert artifact["type"] == "IMAGE"
    assert artifact["media_type"] == CONFIG
    document = json.loads(content)
    assert artifact["size"] == len(content) + sum(each["size"] for each in (document["config"], *document["layers"]))
    assert [tag["name"] for tag in artifact["tags"]] == ["v1"]
    for reference in ("v1", digest):
        assert ok(call("GET", path(f"{project}/app", f"/artifacts/{reference}"))) == artifact
    assert ok(call("GET", f"/projects/{project}"))["repo_count"] == 1


@pytest.mark.parametrize("encode", [1, 2])
def test_names_with_slashes_are_found_encoded_once_or_twice(project: str, encode: int) -> None:
    repository = f"{project}/a/b/c"
    digest, _ = push_image(repository, "v1")
    assert ok(call("GET", path(repository, "/artifacts/v1", encode)))["digest"] == digest
    assert ok(call("GET", path(repository, "/artifacts/v1/tags", encode)))[0]["name"] == "v1"
    assert len(ok(call("GET", path(repository, "/artifacts", encode)))) == 1


def test_pages_are_cut_and_counted(project: str) -> None:
    for number in range(5):
        push_image(f"{project}/r{number}", "v1")
        push_image(f"{project}/many", f"v{number}")
    response = call("GET", f"/projects/{project}/repositories?page=2&page_size=2")
    assert [each["name"] for each in ok(response)] == [f"{project}/r1", f"{project}/r2"]
    assert response.headers["X-Total-Count"] == "6"
    assert 'rel="prev"' in response.headers["Link"]
    assert 'rel="next"' in response.headers["Link"]
    response = call("GET", f"/projects/{project}/repositories?sort=-name&page_size=1")
    assert [each["name"] for each in ok(response)] == [f"{project}/r4"]
    response = call("GET", path(f"{project}/many", "/artifacts?page=2&page_size=2"))
    assert [each["tags"][0]["name"] for each in ok(response)] == ["v2", "v1"]
    assert response.headers["X-Total-Count"] == "5"
    assert ok(call("GET", path(f"{project}/many", "/artifacts?page=9"))) == []


def test_lists_are_filtered_and_sorted(project: str) -> None:
    digest, _ = push_image(f"{project}/app", "v1")
    push_image(f"{project}/app", "v2", layers=5)
    push_image(f"{project}/other", "v1")
    assert [each["name"] for each in ok(call("GET", f"/projects/{project}/repositories?q=name%3D~oth"))] == [
        f"{project}/other"
    ]
    response = call("GET", path(f"{project}/app", "/artifacts?q=tags%3Dv1"))
    assert [each["digest"] for each in ok(response)] == [digest]
    assert response.headers["X-Total-Count"] == "1"
    sizes = [each["size"] for each in ok(call("GET", path(f"{project}/app", "/artifacts?sort=-size")))]
    assert sizes == sorted(sizes, reverse=True)
    assert call("GET", path(f"{project}/app", "/artifacts?q=nonsense")).status == 400
    assert "tags" not in ok(call("GET", path(f"{project}/app", "/artifacts/v1?with_tag=false")))


def test_a_page_costs_the_same_calls_however_long_the_list(project: str) -> None:
    calls: list[int] = []
    for repositories_more in (3, 12):
        for _ in range(repositories_more):
            push_image(f"{project}/r{len(calls)}-{_}", "v1", layers=0)
        made: list[str] = []
        ok(call("GET", f"/projects/{project}/repositories?page_size=2"))  # what is remembered for a while is fresh then

        def count(event_name: str, made: list[str] = made, **_: Any) -> None:
            made.append(event_name)

        aws_json.events.register("before-call.*.*", count)
        ok(call("GET", f"/projects/{project}/repositories?page_size=2"))
        aws_json.events.unregister("before-call.*.*", count)
        calls.append(len(made))
    assert calls[0] == calls[1]


def test_an_index_lists_what_it_names(project: str) -> None:
    repository = f"{project}/multi"
    _, child = push_image(repository, "child")
    content = index(child, annotations={"org.example": "yes"})
    push.manifest(repository, "multi", content, manifests.OCI_INDEX)
    artifact = ok(call("GET", path(repository, "/artifacts/multi")))
    assert artifact["type"] == "IMAGE"
    assert artifact["annotations"] == {"org.example": "yes"}
    child_digest = ok(call("GET", path(repository, "/artifacts/child")))["digest"]
    assert [each["child_digest"] for each in artifact["references"]] == [child_digest]


@pytest.mark.parametrize(
    ("config_type", "expected"),
    [
        ("application/vnd.cncf.helm.config.v1+json", "CHART"),
        ("application/vnd.example.model.config.v1+json", "MODEL"),
        ("application/json", "UNKNOWN"),
    ],
)
def test_the_type_is_the_configs(project: str, config_type: str, expected: str) -> None:
    config = push_blob(f"{project}/typed", config_type.encode(), config_type)
    layer = push_blob(f"{project}/typed", b"layer", LAYER)
    push.manifest(f"{project}/typed", "v1", image(config, layer), manifests.OCI_MANIFEST)
    assert ok(call("GET", path(f"{project}/typed", "/artifacts/v1")))["type"] == expected


def test_pushing_again_changes_neither_count_nor_time(project: str) -> None:
    digest, content = push_image(f"{project}/app", "v1")
    before = ok(call("GET", path(f"{project}/app", "/artifacts/v1")))
    push.manifest(f"{project}/app", "v2", content, manifests.OCI_MANIFEST)
    after = ok(call("GET", path(f"{project}/app", f"/artifacts/{digest}")))
    assert after["push_time"] == before["push_time"]
    assert [tag["name"] for tag in after["tags"]] == ["v1", "v2"]
    assert ok(call("GET", path(f"{project}/app")))["artifact_count"] == 1


def test_a_description_is_kept(project: str) -> None:
    push_image(f"{project}/app", "v1")
    assert call("PUT", path(f"{project}/app"), {"description": "What it is"}).status == 200
    assert ok(call("GET", path(f"{project}/app")))["description"] == "What it is"
    assert call("PUT", path(f"{project}/app"), {"description": 5}).status == 400
    assert call("PUT", path(f"{project}/app"), {"description": "x" * 70_000}).status == 400
    assert call("PUT", path(f"{project}/none"), {"description": "x"}).status == 404


def test_an_artifact_whose_config_has_no_type_is_of_an_unknown_one(project: str) -> None:
    """As in Harbor, which takes what the config says: some clients say nothing (solo-io/wasm)."""
    repository = f"{project}/app"
    config = push_blob(repository, b"{}")
    content = image({**config, "mediaType": ""}, {"digest": config["digest"]})
    push.manifest(repository, "v1", content, manifests.OCI_MANIFEST)
    found = json.loads(call("GET", path(repository, "/artifacts/v1")).body)
    assert (found["type"], found["media_type"], found["size"]) == ("UNKNOWN", "", len(content) + 2)
    assert found["addition_links"] == {}


@pytest.mark.parametrize("name", ["values.yaml", "dependencies"])
def test_a_manifest_of_a_charts_type_that_has_no_config_has_no_additions(project: str, name: str) -> None:
    repository, media_type = f"{project}/app", "application/vnd.cncf.helm.config.v1+json"
    push.manifest(repository, "v1", b'{"layers": []}', media_type)
    assert call("GET", path(repository, "/artifacts/v1")).status == 200
    assert call("GET", path(repository, f"/artifacts/v1/additions/{name}")).status in (200, 404)


def test_deleting_an_artifact_deletes_its_tags(project: str) -> None:
    digest, content = push_image(f"{project}/app", "v1")
    push.manifest(f"{project}/app", "v2", content, manifests.OCI_MANIFEST)
    assert call("DELETE", path(f"{project}/app", "/artifacts/v1")).status == 200
    for reference in ("v1", "v2", digest):
        with pytest.raises(ManifestUnknown):
            pull.manifest(f"{project}/app", reference)
        assert call("DELETE", path(f"{project}/app", f"/artifacts/{reference}")).status == 404
    assert ok(call("GET", path(f"{project}/app", "/artifacts"))) == []
    assert ok(call("GET", path(f"{project}/app")))["artifact_count"] == 0


def test_tags_are_put_and_taken(project: str) -> None:
    digest, _ = push_image(f"{project}/app", "v1")
    other, _ = push_image(f"{project}/app", "other")
    tags = path(f"{project}/app", f"/artifacts/{digest}/tags")
    assert call("POST", tags, {"name": "stable"}).status == 201
    assert pull.manifest(f"{project}/app", "stable").digest == digest
    assert call("POST", tags, {"name": "stable"}).status == 409
    assert call("POST", tags, {"name": "other"}).status == 409
    for name in ("", ".x", "a/b", "x" * 129, None, 7):
        assert call("POST", tags, {"name": name}).status == 400
    assert call("DELETE", path(f"{project}/app", f"/artifacts/{other}/tags/stable")).status == 404
    assert call("DELETE", f"{tags}/stable").status == 200
    assert call("DELETE", f"{tags}/stable").status == 404
    assert [tag["name"] for tag in ok(call("GET", tags))] == ["v1"]


def test_deleting_a_repository_deletes_all_and_frees_the_project(project: str) -> None:
    repository = f"{project}/app"
    _, child = push_image(repository, "child")
    push.manifest(repository, "multi", index(child), manifests.OCI_INDEX)
    push_image(repository, "alone")
    push_image(f"{project}/other", "v1")
    assert call("DELETE", path(repository)).status == 200
    assert call("GET", path(repository)).status == 404
    assert call("DELETE", path(repository)).status == 404
    assert ok(call("GET", f"/projects/{project}"))["repo_count"] == 1
    assert call("DELETE", f"/projects/{project}").status == 412
    assert call("DELETE", path(f"{project}/other")).status == 200
    assert call("DELETE", f"/projects/{project}").status == 200


@pytest.mark.parametrize("limit", ["_AT_ONCE", "_REQUEST_SECONDS"])
def test_a_repository_that_does_not_fit_a_request_is_deleted_by_a_job(
    project: str, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    repository = f"{project}/large"
    for number in range(3):
        _, child = push_image(repository, f"v{number}")
        push.manifest(repository, f"multi{number}", index(child), manifests.OCI_INDEX)
    monkeypatch.setattr(repository_deletion, limit, -1)
    assert call("DELETE", path(repository)).status == 200
    deadline = time.monotonic() + SECONDS
    while call("GET", path(repository)).status == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert call("DELETE", path(repository)).status == 404
    assert ok(call("GET", f"/projects/{project}"))["repo_count"] == 0


def test_a_blob_that_another_repository_shares_survives_the_delete(project: str) -> None:
    config = push_blob(f"{project}/one", b"{}", CONFIG)
    shared = push_blob(f"{project}/one", b"shared")
    push_blob(f"{project}/two", b"{}", CONFIG)
    push_blob(f"{project}/two", b"shared")
    for repository in ("one", "two"):
        push.manifest(f"{project}/{repository}", "v1", image(config, shared), manifests.OCI_MANIFEST)
    assert call("DELETE", path(f"{project}/one")).status == 200
    push.manifest(f"{project}/two", "v2", image(config, shared), manifests.OCI_MANIFEST)
    assert pull.manifest(f"{project}/two", "v1").content


def test_counts_are_exact_when_pushes_and_deletes_run_side_by_side(project: str) -> None:
    repository = f"{project}/busy"
    images = [push_image(f"{project}/source", f"v{number}")[1] for number in range(6)]
    for content in images:
        for entry in (json.loads(content)["config"], *json.loads(content)["layers"]):
            assert entry["digest"]
    kept: list[str] = []

    def work(number: int) -> None:
        digest, _ = push_image(repository, f"t{number}")
        if number % 2:
            assert call("DELETE", path(repository, f"/artifacts/{digest}")).status == 200
        else:
            kept.append(digest)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listed = ok(call("GET", path(repository, "/artifacts")))
    assert sorted(each["digest"] for each in listed) == sorted(kept)
    found = repositories.read(repository)
    assert found is not None
    assert found.manifests == len(kept) == 4


OPERATIONS = [
    ("GET", ""),
    ("GET", "/artifacts"),
    ("GET", "/artifacts/v1"),
    ("GET", "/artifacts/v1/tags"),
    ("PUT", ""),
    ("DELETE", ""),
    ("DELETE", "/artifacts/v1"),
    ("POST", "/artifacts/v1/tags"),
    ("DELETE", "/artifacts/v1/tags/v1"),
]


@pytest.mark.parametrize(("method", "rest"), OPERATIONS)
def test_who_may_not_see_the_project_learns_nothing(project: str, method: str, rest: str) -> None:
    push_image(f"{project}/app", "v1")
    token = bearer(token_for(BASIC, f"repository:{project}/app:pull"))
    for headers, status in ((None, 401), (token, 403)):
        answers = [
            call(method, path(f"{each}/app", rest), {"name": "x"}, admin=False, headers=headers)
            for each in (project, "no-such-project")
        ]
        assert [answer.status for answer in answers] == [status, status]
        assert answers[0].body == answers[1].body


def test_a_public_projects_artifacts_are_everybodys_to_read(project: str) -> None:
    push_image(f"{project}/app", "v1")
    rules.update(rules.get(project), public=True, metadata={})
    assert len(ok(call("GET", f"/projects/{project}/repositories", admin=False))) == 1
    assert ok(call("GET", path(f"{project}/app", "/artifacts/v1"), admin=False))
    assert f"{project}/app" in {
        each["name"] for each in ok(call("GET", f"/repositories?q=name%3D~{project}", admin=False))
    }
    assert call("DELETE", path(f"{project}/app", "/artifacts/v1"), admin=False).status == 401


@pytest.mark.parametrize("name", ["UPPER", "a..b", "%2e%2e", "x" * 300, "a%00b", "é"])
def test_malformed_names_are_not_found(project: str, name: str) -> None:
    response = call("GET", f"/projects/{project}/repositories/{name}")
    assert (response.status, errors_of(response)) == (404, ["NOT_FOUND"])
    assert call("GET", f"/projects/{project}/repositories/{name}/artifacts/v1").status == 404
