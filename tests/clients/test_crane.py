"""crane: multi-arch indexes, mounts, lists and deletes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.clients import layout
from tests.clients.conftest import Run, Server


def test_an_image_comes_back_equal(run: Run, repository: str, image: tuple[Path, str], tmp_path: Path) -> None:
    folder, digest = image
    run("crane", "push", str(folder), f"{repository}:1")
    assert run("crane", "digest", f"{repository}:1").strip() == digest
    run("crane", "pull", "--format=oci", f"{repository}:1", str(tmp_path / "back"))
    assert layout.content(tmp_path / "back", digest) == layout.content(folder, digest)
    run("crane", "validate", "--remote", f"{repository}:1")


def test_an_index_of_two_architectures(run: Run, repository: str, tmp_path: Path) -> None:
    digests = {}
    for architecture in ("amd64", "arm64"):
        folder = tmp_path / architecture
        digests[architecture] = layout.small(folder, architecture=architecture)
        run("crane", "push", str(folder), f"{repository}:{architecture}")
    references = [f"{repository}@{digest}" for digest in digests.values()]
    run("crane", "index", "append", "-m", references[0], "-m", references[1], "-t", f"{repository}:all")
    index = json.loads(run("crane", "manifest", f"{repository}:all"))
    assert {entry["digest"] for entry in index["manifests"]} == set(digests.values())
    assert run("crane", "digest", "--platform", "linux/arm64", f"{repository}:all").strip() == digests["arm64"]
    whole = f"oci:{tmp_path / 'all'}:latest"
    run("skopeo", "copy", "--all", "--src-tls-verify=false", f"docker://{repository}:all", whole)
    for architecture, digest in digests.items():
        assert layout.content(tmp_path / "all", digest) == layout.content(tmp_path / architecture, digest)
    refused = run("crane", "delete", references[0], fails=True)
    assert "index" in refused


def test_a_copy_mounts_its_blobs(run: Run, repository: str, image: tuple[Path, str]) -> None:
    run("crane", "push", str(image[0]), f"{repository}:1")
    copied = run("crane", "copy", f"{repository}:1", f"{repository}-copy:1")
    assert "mounted blob" in copied
    assert "pushed blob" not in copied
    assert run("crane", "digest", f"{repository}-copy:1").strip() == image[1]


def test_tags_the_catalog_and_deletes(run: Run, server: Server, repository: str, image: tuple[Path, str]) -> None:
    run("crane", "push", str(image[0]), f"{repository}:1")
    run("crane", "tag", f"{repository}:1", "2")
    assert run("crane", "ls", repository).split() == ["1", "2"]
    assert repository.partition("/")[2] in run("crane", "catalog", server.registry).split()
    run("crane", "delete", f"{repository}@{image[1]}")
    assert "MANIFEST_UNKNOWN" in run("crane", "manifest", f"{repository}:1", fails=True)


def test_a_large_layer(run: Run, repository: str, tmp_path: Path) -> None:
    digest = layout.small(tmp_path / "large", layers=1, size=300_000_000)
    run("crane", "push", str(tmp_path / "large"), f"{repository}:large")
    run("crane", "validate", "--remote", f"{repository}:large")
    assert run("crane", "digest", f"{repository}:large").strip() == digest
