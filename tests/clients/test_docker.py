"""Docker's engine and command line: login, push, pull, mount, build, what a kubelet reads of its configuration."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import requests

from tests.clients import layout
from tests.clients.conftest import Run, Server


def import_image(docker: Run, name: str, tmp_path: Path) -> None:
    """Make an image of one layer."""
    archive = tmp_path / f"{os.urandom(4).hex()}.tar.gz"
    archive.write_bytes(layout.file_layer("data", os.urandom(50_000)))
    docker("import", str(archive), name)


def test_an_image_is_pushed_and_pulled(docker: Run, repository: str, tmp_path: Path) -> None:
    import_image(docker, f"{repository}:v1", tmp_path)
    pushed = docker("push", f"{repository}:v1")
    digest = pushed.partition("digest: ")[2].split()[0]
    docker("rmi", f"{repository}:v1")
    assert f"Digest: {digest}" in docker("pull", f"{repository}:v1")
    docker("rmi", f"{repository}:v1")
    docker("pull", f"{repository}@{digest}")
    assert "Image is up to date" in docker("pull", f"{repository}@{digest}")


def test_what_is_there_is_not_sent_again(docker: Run, repository: str, tmp_path: Path) -> None:
    import_image(docker, f"{repository}:v1", tmp_path)
    docker("push", f"{repository}:v1")
    docker("tag", f"{repository}:v1", f"{repository}-copy:v1")
    assert "Mounted from" in docker("push", f"{repository}-copy:v1")
    assert "Layer already exists" in docker("push", f"{repository}:v1")


def test_an_image_is_built_on_a_pulled_one(docker: Run, repository: str, tmp_path: Path) -> None:
    import_image(docker, f"{repository}:base", tmp_path)
    docker("push", f"{repository}:base")
    docker("rmi", f"{repository}:base")
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(1000))
    (folder / "Dockerfile").write_text(f"FROM {repository}:base\nCOPY file /file\nENV A=b\n")
    docker("build", "-t", f"{repository}:built", str(folder))
    assert "digest: sha256:" in docker("push", f"{repository}:built")


def test_a_manifest_list_is_made_and_pulled(docker: Run, repository: str, tmp_path: Path) -> None:
    import_image(docker, f"{repository}:amd64", tmp_path)
    docker("push", f"{repository}:amd64")
    docker("manifest", "create", "--insecure", f"{repository}:all", f"{repository}:amd64")
    docker("manifest", "annotate", f"{repository}:all", f"{repository}:amd64", "--arch", "amd64", "--os", "linux")
    docker("manifest", "push", "--insecure", f"{repository}:all")
    docker("rmi", f"{repository}:amd64")
    docker("pull", f"{repository}:all")


def test_what_goes_wrong_is_said(docker: Run, repository: str, tmp_path: Path) -> None:
    assert "manifest unknown" in docker("pull", f"{repository}:none", fails=True)
    missing = f"{repository.partition('/')[0]}/none{os.urandom(4).hex()}/app:v1"
    import_image(docker, missing, tmp_path)
    assert "create it first" in docker("push", missing, fails=True)


def test_a_kubelet_can_use_what_docker_login_writes(docker: Run, server: Server, tmp_path: Path) -> None:
    """Kubernetes' recipe puts config.json into a secret; a kubelet reads only `auth` of it, and no identity token."""
    written = json.loads((tmp_path / "config" / "config.json").read_text())["auths"][server.registry]
    assert set(written) == {"auth"}
    user, _, password = base64.b64decode(written["auth"]).decode().partition(":")
    private = server.make_project(public=False)
    asked = {"service": "berth", "scope": f"repository:{private}/app:pull"}
    answer = requests.get(f"{server.url}/service/token", params=asked, auth=(user, password), timeout=30)
    assert answer.status_code == 200
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    listed = requests.get(f"{server.url}/v2/{private}/app/tags/list", headers=headers, timeout=30)
    assert listed.status_code == 404, "the project is there, the repository is not yet"
