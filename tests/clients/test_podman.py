"""podman: login, push, pull, and an image that was made with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients import layout
from tests.clients.conftest import Run, Server

PLAIN = "--tls-verify=false"


@pytest.fixture
def podman(run: Run, server: Server, podman_store: tuple[str, ...]) -> Run:
    """The podman command with a store and a login of its own."""
    login = ("login", PLAIN, "-u", server.user, "--password-stdin", server.registry)
    run("podman", *podman_store, *login, stdin=server.password)
    return lambda *arguments, **options: run("podman", *podman_store, *arguments, **options)


def test_an_image_is_pulled_and_pushed(podman: Run, run: Run, repository: str, debian: tuple[Path, str]) -> None:
    source, copy = f"{repository}:v1", f"{repository}:copy"
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{debian[0]}:latest", f"docker://{source}")
    podman("pull", PLAIN, source)
    [image] = json.loads(podman("image", "inspect", source))
    assert image["Digest"] == debian[1]
    podman("tag", source, copy)
    podman("push", PLAIN, copy)
    pushed = json.loads(run("skopeo", "inspect", PLAIN, f"docker://{copy}"))
    assert len(pushed["Layers"]) == 3


def test_an_image_that_only_podman_has(podman: Run, repository: str, tmp_path: Path) -> None:
    archive, name = tmp_path / "layer.tar.gz", f"{repository}:imported"
    archive.write_bytes(layout.file_layer("file", b"content"))
    podman("import", str(archive), name)
    podman("push", PLAIN, name)
    podman("rmi", name)
    podman("pull", PLAIN, name)


def test_a_manifest_list(podman: Run, run: Run, repository: str, tmp_path: Path) -> None:
    podman("manifest", "create", "list")
    for architecture in ("amd64", "arm64"):
        layout.small(tmp_path / architecture, architecture=architecture)
        run("crane", "push", str(tmp_path / architecture), f"{repository}:{architecture}")
        podman("manifest", "add", PLAIN, "list", f"docker://{repository}:{architecture}")
    podman("manifest", "push", PLAIN, "--all", "list", f"docker://{repository}:list")
    index = json.loads(run("skopeo", "inspect", "--raw", PLAIN, f"docker://{repository}:list"))
    assert sorted(each["platform"]["architecture"] for each in index["manifests"]) == ["amd64", "arm64"]
