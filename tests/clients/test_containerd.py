"""containerd: push and pull of an image and of an index, as one PUT a layer, and what is mounted."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.clients import layout
from tests.clients.conftest import Run, Server

_SNAPSHOTTER = ("--snapshotter", "native")


def pull(ctr: Run, server: Server, reference: str, *options: str) -> str:
    plain = ("--plain-http", "--user", server.credentials)
    return ctr("images", "pull", *plain, *_SNAPSHOTTER, *options, reference)


def push(ctr: Run, server: Server, reference: str, *options: str) -> str:
    return ctr("images", "push", "--plain-http", "--user", server.credentials, *options, reference)


def digest_of(ctr: Run, reference: str) -> str:
    listed = ctr("images", "ls", f"name=={reference}").splitlines()
    return listed[1].split()[2]


def test_an_image_is_pulled_and_pushed_elsewhere(
    ctr: Run, run: Run, server: Server, repository: str, debian: tuple[Path, str]
) -> None:
    source = f"{repository}:v1"
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{debian[0]}:latest", f"docker://{source}")
    pull(ctr, server, source)
    assert digest_of(ctr, source) == debian[1]
    private = f"{server.registry}/{server.make_project(public=False)}/app:v1"
    ctr("images", "tag", source, private)
    push(ctr, server, private)
    assert json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{private}"))["Digest"] == debian[1]


def test_an_image_that_only_containerd_has_is_pushed(
    ctr: Run, run: Run, server: Server, repository: str, tmp_path: Path
) -> None:
    digest = layout.small(tmp_path / "image", size=2_000_000)
    archive, name = tmp_path / "image.tar", f"{repository}:pushed"
    run("tar", "-C", str(tmp_path / "image"), "-cf", str(archive), ".")
    ctr("images", "import", *_SNAPSHOTTER, "--digests", "--base-name", repository, str(archive))
    ctr("images", "tag", f"{repository}:latest", name)
    push(ctr, server, name)
    assert json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{name}"))["Digest"] == digest


def test_an_index_with_all_platforms(ctr: Run, run: Run, server: Server, repository: str, tmp_path: Path) -> None:
    members = []
    for architecture in ("amd64", "arm64"):
        layout.small(tmp_path / architecture, architecture=architecture)
        run("crane", "push", str(tmp_path / architecture), f"{repository}:{architecture}")
        members += ["-m", f"{repository}:{architecture}"]
    run("crane", "index", "append", *members, "-t", f"{repository}:all")
    ctr("content", "fetch", "--plain-http", "--user", server.credentials, "--all-platforms", f"{repository}:all")
    copied = f"{server.registry}/library/{os.urandom(6).hex()}:all"
    ctr("images", "tag", f"{repository}:all", copied)
    push(ctr, server, copied)
    assert run("crane", "digest", copied) == run("crane", "digest", f"{repository}:all")


def test_a_push_over_quota_is_refused(ctr: Run, run: Run, server: Server, tmp_path: Path) -> None:
    project = server.make_project(public=False)
    name = f"{server.registry}/{project}/app:v1"
    layout.small(tmp_path / "image", size=100_000)
    run("crane", "push", str(tmp_path / "image"), name)
    pull(ctr, server, name)
    server.limit_storage(project, 1000)
    other = f"{server.registry}/{project}/other"
    layout.small(tmp_path / "other", size=100_000)
    archive = tmp_path / "other.tar"
    run("tar", "-C", str(tmp_path / "other"), "-cf", str(archive), ".")
    ctr("images", "import", *_SNAPSHOTTER, "--base-name", other, str(archive))
    assert "403" in ctr("images", "push", "--plain-http", "--user", server.credentials, f"{other}:latest", fails=True)
