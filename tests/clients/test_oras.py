"""oras: artifacts and their referrers, by the API and by the tag schema."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.clients.conftest import Run

PLAIN = "--plain-http"


@pytest.fixture
def artifact(run: Run, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An artifact of one file under the tag `1`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.bin").write_bytes(os.urandom(50_000))
    run("oras", "push", PLAIN, "--artifact-type", "application/vnd.example.model", f"{repository}:1", "model.bin")
    return f"{repository}:1"


def test_an_artifact_comes_back_equal(run: Run, artifact: str, tmp_path: Path) -> None:
    run("oras", "pull", PLAIN, "-o", str(tmp_path / "back"), artifact)
    assert (tmp_path / "back" / "model.bin").read_bytes() == (tmp_path / "model.bin").read_bytes()


@pytest.mark.parametrize("schema", ["v1.1-referrers-api", "v1.1-referrers-tag"])
def test_referrers_are_discovered(run: Run, artifact: str, tmp_path: Path, schema: str) -> None:
    (tmp_path / "sbom.json").write_text("{}")
    for kind in ("application/vnd.example.sbom", "application/vnd.example.signature"):
        way = ("--distribution-spec", schema)
        run("oras", "attach", PLAIN, *way, "--artifact-type", kind, artifact, "sbom.json")
    listed = json.loads(run("oras", "discover", PLAIN, "--format", "json", artifact))
    kinds = [entry["artifactType"] for entry in listed["referrers"]]
    assert sorted(kinds) == ["application/vnd.example.sbom", "application/vnd.example.signature"]
    kind = "application/vnd.example.sbom"
    filtered = json.loads(run("oras", "discover", PLAIN, "--artifact-type", kind, "--format", "json", artifact))
    assert [entry["artifactType"] for entry in filtered["referrers"]] == [kind]


def test_a_copy_takes_its_referrers_along(run: Run, repository: str, artifact: str, tmp_path: Path) -> None:
    (tmp_path / "sbom.json").write_text("{}")
    run("oras", "attach", PLAIN, "--artifact-type", "application/vnd.example.sbom", artifact, "sbom.json")
    run("oras", "cp", "-r", "--from-plain-http", "--to-plain-http", artifact, f"{repository}-copy:1")
    listed = json.loads(run("oras", "discover", PLAIN, "--format", "json", f"{repository}-copy:1"))
    assert len(listed["referrers"]) == 1


def test_tags_and_deletes(run: Run, repository: str, artifact: str) -> None:
    assert run("oras", "repo", "tags", PLAIN, repository).split() == ["1"]
    run("oras", "manifest", "delete", PLAIN, "--force", artifact)
    assert "not found" in run("oras", "manifest", "fetch", PLAIN, artifact, fails=True)


def test_a_large_file(run: Run, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = os.urandom(300_000_000)
    (tmp_path / "large.bin").write_bytes(content)
    run("oras", "push", PLAIN, f"{repository}:large", "large.bin")
    run("oras", "pull", PLAIN, "-o", "back", f"{repository}:large")
    assert (tmp_path / "back" / "large.bin").read_bytes() == content
