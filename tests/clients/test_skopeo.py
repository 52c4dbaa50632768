"""skopeo: pushes, pulls, forms, lists and deletes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients import layout
from tests.clients.conftest import Run, Server

PLAIN = "--tls-verify=false"


def test_a_debian_image_comes_back_equal(run: Run, repository: str, debian: tuple[Path, str], tmp_path: Path) -> None:
    folder, digest = debian
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{folder}:latest", f"docker://{repository}:12")
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{repository}:12", f"oci:{tmp_path / 'back'}:latest")
    [entry] = json.loads((tmp_path / "back" / "index.json").read_text())["manifests"]
    assert entry["digest"] == digest
    for layer in json.loads(layout.content(folder, digest))["layers"]:
        assert layout.content(tmp_path / "back", layer["digest"]) == layout.content(folder, layer["digest"])
    assert json.loads(run("skopeo", "inspect", PLAIN, f"docker://{repository}:12"))["Digest"] == digest


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_each_form_of_manifest_is_kept(run: Run, repository: str, image: tuple[Path, str], form: str) -> None:
    source = f"oci:{image[0]}:latest"
    run("skopeo", "copy", "--dest-tls-verify=false", "--format", form, source, f"docker://{repository}:{form}")
    raw = json.loads(run("skopeo", "inspect", "--raw", PLAIN, f"docker://{repository}:{form}"))
    assert ("docker" in raw["mediaType"]) == (form == "v2s2")


def test_a_copy_within_the_registry_uploads_nothing(run: Run, repository: str, image: tuple[Path, str]) -> None:
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{image[0]}:latest", f"docker://{repository}:1")
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    run("skopeo", "copy", *plain, f"docker://{repository}:1", f"docker://{repository}-copy:1")
    inspected = json.loads(run("skopeo", "inspect", PLAIN, f"docker://{repository}-copy:1"))
    assert inspected["Digest"] == image[1]


def test_tags_are_listed_and_an_image_deleted(run: Run, repository: str, image: tuple[Path, str]) -> None:
    for tag in ("b", "a"):
        run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{image[0]}:latest", f"docker://{repository}:{tag}")
    assert json.loads(run("skopeo", "list-tags", PLAIN, f"docker://{repository}"))["Tags"] == ["a", "b"]
    run("skopeo", "delete", PLAIN, f"docker://{repository}:a")
    refused = run("skopeo", "inspect", PLAIN, f"docker://{repository}:b", fails=True)
    assert "manifest unknown" in refused


def test_a_push_over_quota_is_denied_in_harbors_words(run: Run, server: Server, image: tuple[Path, str]) -> None:
    """By the upload of a layer that does not fit, then by the manifest: each blob fits, together they do not."""
    project = server.make_project(public=False)
    push = ("copy", "--dest-tls-verify=false", f"oci:{image[0]}:latest", f"docker://{server.registry}/{project}/app:1")
    server.limit_storage(project, 900)
    refused = run("skopeo", *push, fails=True)
    assert "denied" in refused
    assert "will exceed the configured upper limit of 900 B" in refused
    server.limit_storage(project, 3000)
    refused = run("skopeo", *push, fails=True)
    assert "denied" in refused
    assert "will exceed the configured upper limit of 2.9 KiB" in refused
    server.limit_storage(project, -1)
    run("skopeo", *push)


def test_a_large_layer(run: Run, repository: str, tmp_path: Path) -> None:
    digest = layout.small(tmp_path / "large", layers=1, size=300_000_000)
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'large'}:latest", f"docker://{repository}:large")
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{repository}:large", f"oci:{tmp_path / 'back'}:latest")
    assert json.loads((tmp_path / "back" / "index.json").read_text())["manifests"][0]["digest"] == digest
