"""regctl: images, sha512, artifacts and referrers, chunked uploads, ranges of tags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.conftest import Run, Server


@pytest.fixture(scope="module")
def regctl(run: Run, server: Server) -> Run:
    run("regctl", "registry", "set", "--tls", "disabled", server.registry)
    run("regctl", "registry", "login", "-u", server.user, "--pass-stdin", server.registry, stdin=server.password)
    return lambda *arguments, **options: run("regctl", "--verbosity", "error", *arguments, **options)


@pytest.fixture
def pushed(regctl: Run, repository: str, image: tuple[Path, str]) -> tuple[str, str]:
    """The name and digest of an image in the registry."""
    regctl("image", "copy", f"ocidir://{image[0]}:latest", f"{repository}:v1")
    return f"{repository}:v1", image[1]


def test_an_image_is_copied_there_and_back(regctl: Run, pushed: tuple[str, str], tmp_path: Path) -> None:
    assert regctl("image", "digest", pushed[0]).strip() == pushed[1]
    regctl("image", "copy", pushed[0], f"ocidir://{tmp_path}/back:v1")
    assert regctl("image", "digest", f"ocidir://{tmp_path}/back:v1").strip() == pushed[1]


def test_an_image_of_sha512_digests_is_tagged(regctl: Run, pushed: tuple[str, str], repository: str) -> None:
    modified = f"{repository}:sha512"
    regctl("image", "mod", "--digest-algo", "sha512", pushed[0], "--create", modified)
    assert regctl("image", "digest", modified).startswith("sha512:")
    manifest = json.loads(regctl("manifest", "get", "--format", "raw-body", modified))
    assert manifest["config"]["digest"].startswith("sha512:")
    assert "sha512" in regctl("tag", "ls", repository).split()


def test_an_artifact_refers_to_an_image(regctl: Run, pushed: tuple[str, str]) -> None:
    regctl("artifact", "put", "--artifact-type", "application/example", "--subject", pushed[0], stdin="content")
    assert "application/example" in regctl("artifact", "list", pushed[0])


def test_an_artifact_is_pushed_and_got(regctl: Run, repository: str) -> None:
    regctl("artifact", "put", "--artifact-type", "application/example", f"{repository}:artifact", stdin="content")
    assert regctl("artifact", "get", f"{repository}:artifact") == "content"


def test_a_blob_in_chunks(regctl: Run, server: Server, repository: str, image: tuple[Path, str]) -> None:
    regctl("registry", "set", "--blob-chunk", "400", "--blob-max", "100", server.registry)
    try:
        regctl("image", "copy", f"ocidir://{image[0]}:latest", f"{repository}:chunks")
    finally:
        regctl("registry", "set", "--blob-chunk", "0", "--blob-max", "0", server.registry)
    assert regctl("image", "digest", f"{repository}:chunks").strip() == image[1]


def test_tags_are_listed_and_deleted(regctl: Run, pushed: tuple[str, str], repository: str) -> None:
    regctl("image", "copy", pushed[0], f"{repository}:v2")
    assert regctl("tag", "ls", repository).split() == ["v1", "v2"]
    regctl("tag", "delete", f"{repository}:v2")
    assert regctl("tag", "ls", repository).split() == ["v1"]
