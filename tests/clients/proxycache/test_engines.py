"""Cold pulls through a proxy project by the engines of nodes: docker, containerd and podman."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import layout
from tests.clients.conftest import Run, Server
from tests.clients.proxycache.pulls import PLAIN, blobs_of, make_proxy, require_fetched_once
from tests.upstreams.servers.docker import DockerRegistry, docker_registry


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("upstream")) as running:
        yield running


@pytest.fixture
def name(run: Run, berth: Server, upstream: DockerRegistry, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The name of an image in a proxy project that nobody has pulled, and its digest; its blobs are fetched once."""
    folder = tmp_path / "image"
    digest = layout.small(folder, size=200_000)
    repository = f"team/{digest[-12:]}"
    run("crane", "push", str(folder), f"{upstream.name}/{repository}:v1")
    upstream.forget()
    yield f"{make_proxy(berth, upstream.url).name}/{repository}", digest
    require_fetched_once(upstream, blobs_of(folder, digest))


def test_docker(docker: Run, name: tuple[str, str]) -> None:
    assert name[1] in docker("pull", f"{name[0]}:v1")
    [inspected] = json.loads(docker("image", "inspect", f"{name[0]}:v1"))
    assert inspected["RepoDigests"] == [f"{name[0]}@{name[1]}"]


def test_containerd(ctr: Run, name: tuple[str, str]) -> None:
    ctr("images", "pull", "--plain-http", "--snapshotter", "native", f"{name[0]}:v1")
    assert name[1] in ctr("images", "ls", f"name=={name[0]}:v1")


def test_podman(run: Run, name: tuple[str, str], podman_store: tuple[str, ...]) -> None:
    run("podman", *podman_store, "pull", PLAIN, f"{name[0]}:v1")
    [inspected] = json.loads(run("podman", *podman_store, "image", "inspect", f"{name[0]}:v1"))
    assert inspected["Digest"] == name[1]
