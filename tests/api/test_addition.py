"""What artifacts hold besides their manifest: an image's history and attributes, a chart's files, a model's."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from chalicelib.artifacts import additions
from chalicelib.chalice_http import to_chalice
from chalicelib.http import Response
from chalicelib.oci import manifests
from chalicelib.registry import push
from chalicelib.registry.store import artifacts
from tests.api.people import content
from tests.api.support import call
from tests.api.test_repository import path
from tests.artifacts.test_archives import CPU_SECONDS, archive
from tests.hostile import bombs
from tests.registry.images import CONFIG, image, index, push_blob
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("administrator")

CHART = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
MODEL = "application/vnd.cncf.model.config.v1+json"

HISTORY = [{"created": "2026-01-02T03:04:05Z", "created_by": "COPY . /", "empty_layer": False}]
IMAGE_CONFIG: dict[str, Any] = {
    "architecture": "arm64",
    "os": "linux",
    "created": "2026-01-02T03:04:05Z",
    "config": {"Env": ["A=b"], "Labels": {"maintainer": "me"}},
    "history": HISTORY,
}


@pytest.fixture
def repository(project: str) -> str:
    return f"{project}/deep/app"


def store(repository: str, config: Any, config_type: str, *layers: dict[str, Any]) -> bytes:
    body = config if isinstance(config, bytes) else json.dumps(config).encode()
    manifest = image(push_blob(repository, body, config_type), *layers)
    push.manifest(repository, "v1", manifest, manifests.OCI_MANIFEST)
    return manifest


def addition(repository: str, name: str) -> Response:
    return call("GET", path(repository, f"/artifacts/v1/additions/{name}"))


def shown(repository: str) -> dict[str, Any]:
    found = content(call("GET", path(repository, "/artifacts/v1")))
    assert isinstance(found, dict)
    return found


def chart_layer(repository: str, *files: tuple[str, bytes]) -> dict[str, Any]:
    return push_blob(repository, archive(*files), CHART_LAYER)


def test_an_images_attributes_are_read_from_its_config(repository: str) -> None:
    store(repository, IMAGE_CONFIG, CONFIG)
    assert shown(repository)["extra_attrs"] == {
        "architecture": "arm64",
        "author": "me",
        "config": {"Env": ["A=b"], "Labels": {"maintainer": "me"}},
        "created": "2026-01-02T03:04:05Z",
        "os": "linux",
    }


def test_attributes_are_read_once(repository: str) -> None:
    manifest = store(repository, IMAGE_CONFIG, CONFIG)
    with counted() as first:
        shown(repository)
    assert first.summary[2] == 1
    push.manifest(repository, "v2", manifest, manifests.OCI_MANIFEST)
    with counted() as second:
        assert shown(repository)["extra_attrs"]["os"] == "linux"
    assert second.summary[1:] == (0, 0)


def test_an_images_history_is_shown(repository: str) -> None:
    store(repository, IMAGE_CONFIG, CONFIG)
    link = shown(repository)["addition_links"]["build_history"]
    assert link["absolute"] is False
    response = call("GET", link["href"].removeprefix("/api/v2.0").replace("%252F", "%2F"))
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert content(response) == HISTORY
    assert addition(repository, "BUILD_HISTORY").status == 200
    for other in ("values.yaml", "nonsense"):
        assert addition(repository, other).status == 400


def test_an_index_has_none(repository: str) -> None:
    child = store(repository, IMAGE_CONFIG, CONFIG)
    push.manifest(repository, "v1", index(child), manifests.OCI_INDEX)
    assert shown(repository)["addition_links"] == {}
    assert "extra_attrs" not in shown(repository)
    assert addition(repository, "build_history").status == 400


@pytest.mark.parametrize("config", [b"", b"not JSON", b"[]", b"[" * 100_000, b'"text"', b" " * ((1 << 20) + 1)])
def test_a_config_that_says_nothing_gives_no_attributes(repository: str, config: bytes) -> None:
    store(repository, config, CONFIG)
    assert "extra_attrs" not in shown(repository)
    assert addition(repository, "build_history").status == 422


@pytest.mark.parametrize("config_type", [CHART, MODEL, CONFIG])
def test_configs_that_are_made_to_be_slow_are_listed_at_once_and_read_once(repository: str, config_type: str) -> None:
    for name, bomb in bombs.CONFIGS.items():
        store(f"{repository}/{name.replace(' ', '-')}", bomb(), config_type)
    project = repository.partition("/")[0]
    started = time.process_time()
    found = content(call("GET", f"/projects/{project}/artifacts?page_size=100"))
    assert (len(found), time.process_time() - started < CPU_SECONDS) == (len(bombs.CONFIGS), True)
    assert all(len(json.dumps(each.get("extra_attrs", {}))) < 40_000 for each in found)
    # What one request may read can end before the last of them, depending on its threads: the next one reads that.
    found = content(call("GET", f"/projects/{project}/artifacts?page_size=100"))
    with counted() as calls:
        assert content(call("GET", f"/projects/{project}/artifacts?page_size=100")) == found
    assert calls.summary[1:] == (0, 0)


def test_attributes_of_ten_thousand_keys_are_kept_as_far_as_they_fit(repository: str) -> None:
    """Each is measured once: to measure all for each of them took minutes."""
    store(repository, {f"k{number}": "v" * (number % 50) for number in range(9_000)}, CHART)
    kept = shown(repository)["extra_attrs"]
    assert 0 < len(json.dumps(kept)) <= 32 * 1024


def test_what_one_request_reads_of_configs_is_bounded(repository: str) -> None:
    allowance = additions.Allowance(left_bytes=1)
    store(f"{repository}/a", {"name": "a"}, CHART)
    store(f"{repository}/b", {"name": "b"}, CHART)
    [first], [second] = artifacts.read_all(f"{repository}/a"), artifacts.read_all(f"{repository}/b")
    assert additions.extra_attributes(first, allowance) == {"name": "a"}
    assert additions.extra_attributes(second, allowance) == {}
    assert additions.extra_attributes(second, additions.Allowance()) == {"name": "b"}


def test_a_values_file_that_is_no_text_is_sent_as_it_is(repository: str) -> None:
    store(repository, {"name": "app"}, CHART, chart_layer(repository, ("app/values.yaml", b"\xff\x00a: 1")))
    response = addition(repository, "values.yaml")
    event = to_chalice(response).to_dict()
    assert (event["isBase64Encoded"], base64.b64decode(event["body"])) == (True, b"\xff\x00a: 1")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("file_path", [bombs.deep_model_path(), bombs.deep_model_path(100)])
def test_a_models_folders_end_somewhere(repository: str, file_path: str) -> None:
    layer = push_blob(repository, b"weights", "application/vnd.cncf.model.weight.v1.tar")
    store(repository, {}, MODEL, {**layer, "annotations": {"org.cncf.model.filepath": file_path}})
    assert addition(repository, "files").status == 422


def test_a_model_of_many_paths_shows_its_files(repository: str) -> None:
    layer = push_blob(repository, b"weights", "application/vnd.cncf.model.weight.v1.tar")
    layers = [{**layer, "annotations": {"org.cncf.model.filepath": path}} for path in bombs.many_slashes()]
    store(repository, {}, MODEL, *layers)
    started = time.process_time()
    assert len(content(addition(repository, "files"))) == len(layers)
    assert time.process_time() - started < CPU_SECONDS


def test_large_attributes_are_left_out(repository: str) -> None:
    store(repository, {**IMAGE_CONFIG, "config": {"Env": ["A" * 100_000]}}, CONFIG)
    assert "config" not in shown(repository)["extra_attrs"]
    assert shown(repository)["extra_attrs"]["os"] == "linux"
    [kept] = artifacts.read_all(repository)
    assert len(json.dumps(kept.extra)) < 1000


def test_a_chart_shows_its_metadata_values_readme_and_dependencies(repository: str) -> None:
    metadata = {
        "name": "app",
        "version": "1.2.3",
        "apiVersion": "v2",
        "dependencies": [{"name": "redis", "version": "1.x", "repository": "oci://example.com"}],
    }
    layer = chart_layer(
        repository,
        ("app/Chart.yaml", b"name: app"),
        ("app/values.yaml", b"replicas: 1\n"),
        ("app/README.md", b"# App\n"),
        ("app/charts/redis/values.yaml", b"other: 1\n"),
    )
    store(repository, metadata, CHART, layer)
    artifact = shown(repository)
    assert artifact["type"] == "CHART"
    assert artifact["extra_attrs"] == metadata
    assert set(artifact["addition_links"]) == {"values.yaml", "readme.md", "dependencies"}
    assert addition(repository, "values.yaml").body == b"replicas: 1\n"
    assert addition(repository, "readme.md").body == b"# App\n"
    assert addition(repository, "readme.md").headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert content(addition(repository, "dependencies")) == metadata["dependencies"]
    assert addition(repository, "build_history").status == 400


def test_a_chart_without_a_readme_has_an_empty_one(repository: str) -> None:
    store(repository, {"name": "app"}, CHART, chart_layer(repository, ("app/Chart.yaml", b"")))
    assert (addition(repository, "readme.md").status, addition(repository, "readme.md").body) == (200, b"")
    assert content(addition(repository, "dependencies")) == []


@pytest.mark.parametrize("body", [b"no archive", b"\x1f\x8bno gzip", b"x" * ((8 << 20) + 1)])
def test_a_chart_that_cannot_be_read_is_said_to_be(repository: str, body: bytes) -> None:
    store(repository, {"name": "app"}, CHART, push_blob(repository, body, CHART_LAYER))
    assert addition(repository, "values.yaml").status == 422


def test_a_model_shows_its_files_readme_and_license(repository: str) -> None:
    def document(name: str, body: bytes, suffix: str, key: str = "org.cncf.model.filepath") -> dict[str, Any]:
        layer = push_blob(repository, body, f"application/vnd.cncf.model.doc.v1.{suffix}")
        return {**layer, "annotations": {key: name}}

    weights = push_blob(repository, b"weights", "application/vnd.cncf.model.weight.v1.tar")
    store(
        repository,
        {"descriptor": {"name": "m"}},
        MODEL,
        document("README.md", archive(("README.md", b"# Model"), compressed=False), "tar"),
        document("LICENSE", b"MIT", "raw"),
        {**weights, "annotations": {"org.cncf.model.filepath": "weights/part/1.bin"}},
    )
    assert set(shown(repository)["addition_links"]) == {"readme.md", "license", "files"}
    assert addition(repository, "readme.md").body == b"# Model"
    assert addition(repository, "license").body == b"MIT"
    files = content(addition(repository, "files"))
    assert [(each["name"], each["type"]) for each in files] == [
        ("weights", "directory"),
        ("LICENSE", "file"),
        ("README.md", "file"),
    ]
    assert files[0]["children"][0]["children"] == [{"name": "1.bin", "type": "file", "size": len(b"weights")}]


def test_what_a_model_lacks_is_not_found(repository: str) -> None:
    store(repository, {}, MODEL)
    assert addition(repository, "license").status == 404
    assert content(addition(repository, "files")) == []


def test_who_may_not_see_the_project_learns_nothing(project: str, repository: str) -> None:
    store(repository, IMAGE_CONFIG, CONFIG)
    answers = [
        call("GET", path(f"{each}/deep/app", "/artifacts/v1/additions/build_history"), admin=False)
        for each in (project, "no-such-project")
    ]
    assert [answer.status for answer in answers] == [401, 401]
    assert answers[0].body == answers[1].body
