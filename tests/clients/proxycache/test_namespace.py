"""A network without a way out: clients in a namespace of their own reach Berth's port and nothing else, and pull a cold
image through it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients import layout
from tests.clients.conftest import Run, Server
from tests.clients.proxycache.pulls import blobs_of, make_proxy, require_fetched_once
from tests.infra.local.instance import PASSWORD, Instance
from tests.upstreams.servers.docker import docker_registry

OUTSIDE, INSIDE = "10.213.77.1", "10.213.77.2"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")

Within = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def within() -> Iterator[Within]:
    """Run a program in a network of which this machine's address OUTSIDE is all that can be reached."""
    name = f"berth{os.urandom(3).hex()}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        _ip("address", "add", f"{OUTSIDE}/30", "dev", f"{name}a")
        _ip("link", "set", f"{name}a", "up")
        for command in (
            ("address", "add", f"{INSIDE}/30", "dev", f"{name}b"),
            ("link", "set", f"{name}b", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", name, *command)
        yield lambda *command, **options: subprocess.run(
            ["ip", "netns", "exec", name, *command],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture(scope="module")
def berth_outside(within: Within, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Berth that other machines reach by OUTSIDE."""
    instance = Instance(
        tmp_path_factory.mktemp("berth") / "state", BERTH_HOST=OUTSIDE, BERTH_OUTBOUND_ALLOWED="127.0.0.0/8"
    )
    instance.start()
    yield Server(f"http://{OUTSIDE}:{instance.port}", "admin", PASSWORD)
    instance.stop()


def test_a_cold_image_is_pulled_where_only_berth_can_be_reached(
    run: Run, berth_outside: Server, within: Within, tmp_path: Path
) -> None:
    digest = layout.small(tmp_path / "image", size=500_000)
    with docker_registry(tmp_path / "registry") as upstream:
        run("crane", "push", str(tmp_path / "image"), f"{upstream.name}/app:v1")
        proxy = make_proxy(berth_outside, upstream.url)
        upstream.forget()
        port = upstream.name.rpartition(":")[2]
        home = {**os.environ, "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
        for address in (f"127.0.0.1:{port}", f"{OUTSIDE}:{port}", "192.0.2.1:80"):
            assert within("curl", "--silent", "--max-time", "5", f"http://{address}/v2/").returncode != 0
        for number, command in enumerate(
            (
                ("crane", "pull", "--format=oci", f"{proxy.name}/app:v1"),
                ("skopeo", "copy", "--src-tls-verify=false", f"docker://{proxy.name}/app:v1"),
            )
        ):
            folder = tmp_path / f"pulled{number}"
            target = str(folder) if command[0] == "crane" else f"oci:{folder}:latest"
            pulled = within(*command, target, env=home)
            assert pulled.returncode == 0, pulled.stderr
            for blob in blobs_of(tmp_path / "image", digest):
                assert layout.content(folder, blob) == layout.content(tmp_path / "image", blob)
        require_fetched_once(upstream, blobs_of(tmp_path / "image", digest))
