"""BuildKit: builds that export their cache to the registry and import it from there.

The version is one whose cache is an index that names blobs (before v0.21 that is the default).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import daemons
from tests.clients.conftest import Run, Server


@pytest.fixture(scope="module")
def buildctl(run: Run, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with daemons.buildkitd(tmp_path_factory.mktemp("buildkit"), server.registry) as address:
        yield lambda *arguments, **options: run("buildctl", "--addr", address, *arguments, **options)


@pytest.fixture
def context(run: Run, server: Server, repository: str, debian: tuple[Path, str], tmp_path: Path) -> Path:
    """A build of several steps on a base image in the registry."""
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{debian[0]}:latest", f"docker://{repository}:base")
    (tmp_path / "file").write_bytes(os.urandom(1000))
    (tmp_path / "Dockerfile").write_text(
        f"FROM {repository}:base AS first\nCOPY file /first\nCOPY file /again\nFROM {repository}:base\n"
        "COPY --from=first /first /second\n"
    )
    return tmp_path


def build(buildctl: Run, context: Path, *options: str) -> str:
    local = [f"--local={name}={context}" for name in ("context", "dockerfile")]
    return buildctl("build", "--frontend", "dockerfile.v0", "--progress=plain", *local, *options)


@pytest.fixture(autouse=True)
def docker_login(run: Run, server: Server) -> None:
    """buildctl reads the credentials of docker's configuration."""
    run("crane", "auth", "login", "-u", server.user, "--password-stdin", server.registry, stdin=server.password)


@pytest.mark.parametrize(
    "form",
    ["mode=max", "mode=min", "mode=max,oci-mediatypes=false", "mode=max,oci-mediatypes=true,image-manifest=true"],
)
def test_a_cache_is_exported_and_imported(run: Run, buildctl: Run, context: Path, repository: str, form: str) -> None:
    cache = f"type=registry,ref={repository}:cache"
    image = f"--output=type=image,name={repository}:built,push=true,registry.insecure=true"
    build(buildctl, context, image, f"--export-cache={cache},{form}")
    kept = json.loads(run("crane", "manifest", f"{repository}:cache"))
    if "image-manifest" not in form:
        assert any("cacheconfig" in entry["mediaType"] for entry in kept["manifests"])
    buildctl("prune", "--all")
    assert "CACHED" in build(buildctl, context, image, f"--import-cache={cache}")


def test_an_image_with_attestations(run: Run, buildctl: Run, context: Path, repository: str) -> None:
    image = f"--output=type=image,name={repository}:attested,push=true,registry.insecure=true"
    build(buildctl, context, image, "--opt=attest:provenance=mode=max")
    index = json.loads(run("crane", "manifest", f"{repository}:attested"))
    assert {entry["platform"]["architecture"] for entry in index["manifests"]} == {"amd64", "unknown"}
