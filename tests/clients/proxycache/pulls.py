"""Proxy projects for clients to pull through, and pulls by each client, whose outcome is looked at."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.clients.conftest import Run, Server
from tests.upstreams.servers.asked import Log

PLAIN = "--tls-verify=false"
FRESH_SECONDS = 1
"""How long the Berth of these tests takes it that a tag stands for what it did."""


@dataclass(frozen=True)
class Proxy:
    """A proxy project; `name` is what its repositories' names begin with, with the registry's host."""

    server: Server
    project: str

    @property
    def name(self) -> str:
        return f"{self.server.registry}/{self.project}"


def make_proxy(
    server: Server,
    upstream: str,
    kind: str = "docker-registry",
    credential: tuple[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Proxy:
    """A public project that pulls through from the registry at the URL `upstream`."""
    name = f"proxy{os.urandom(6).hex()}"
    endpoint: dict[str, Any] = {"name": name, "type": kind, "url": upstream, "insecure": True}
    if credential:
        endpoint["credential"] = {"type": "basic", "access_key": credential[0], "access_secret": credential[1]}
    auth = (server.user, server.password)
    made = requests.post(f"{server.url}/api/v2.0/registries", json=endpoint, auth=auth, timeout=30)
    assert made.status_code == 201, made.text
    number = int(made.headers["Location"].rpartition("/")[2])
    project = {"project_name": name, "registry_id": number, "metadata": {"public": "true", **(metadata or {})}}
    made = requests.post(f"{server.url}/api/v2.0/projects", json=project, auth=auth, timeout=30)
    assert made.status_code == 201, made.text
    return Proxy(server, name)


def pull_by_crane(run: Run, reference: str, folder: Path) -> str:
    run("crane", "pull", "--format=oci", reference, str(folder))
    return _digest_of_layout(folder)


def pull_by_skopeo(run: Run, reference: str, folder: Path) -> str:
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{reference}", f"oci:{folder}:latest")
    return _digest_of_layout(folder)


def pull_by_buildah(run: Run, reference: str, folder: Path) -> str:
    store = ("--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs")
    run("buildah", *store, "pull", PLAIN, reference)
    [image] = json.loads(run("buildah", *store, "images", "--json"))
    run("buildah", *store, "rmi", "--all", "--force")
    return str(image["digest"])


Pull = Callable[[Run, str, Path], str]
"""Pulls an image into a new folder, bytes and all; returns its digest. The clients compare what comes with digests."""

PULLS: Mapping[str, Pull] = {"crane": pull_by_crane, "skopeo": pull_by_skopeo, "buildah": pull_by_buildah}


def _digest_of_layout(folder: Path) -> str:
    [entry] = json.loads((folder / "index.json").read_text())["manifests"]
    return str(entry["digest"])


def blobs_of(folder: Path, digest: str) -> dict[str, int]:
    """The sizes of the blobs that an image in a layout names, by digest."""
    manifest = json.loads((folder / "blobs" / "sha256" / digest.partition(":")[2]).read_text())
    return {each["digest"]: each["size"] for each in [manifest["config"], *manifest["layers"]]}


def require_fetched_once(upstream: Log, blobs: Mapping[str, int]) -> None:
    """See that the bytes of each blob left the upstream registry once."""
    assert {digest: upstream.sent(f"*/blobs/{digest}") for digest in blobs} == dict(blobs)


def wait_until_stale() -> None:
    """Until Berth does not take what upstream said before for what it says now."""
    time.sleep(FRESH_SECONDS + 0.5)
