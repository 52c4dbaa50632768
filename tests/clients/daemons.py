"""Daemons of container engines for the tests: each with folders of its own, without a network, as root."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_UP_SECONDS = 60


@contextlib.contextmanager
def running(command: list[str], log: Path, ready: list[str]) -> Iterator[None]:
    """Run a daemon until the context ends; it is up when the command `ready` succeeds."""
    with log.open("wb") as output:
        daemon = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + _UP_SECONDS
        while subprocess.run(ready, capture_output=True, check=False).returncode != 0:
            assert daemon.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.1)
        yield
    finally:
        daemon.terminate()
        daemon.wait(60)


@contextlib.contextmanager
def dockerd(folder: Path) -> Iterator[str]:
    """Debian's Docker engine, with its containerd; yields its address. It takes plain HTTP from loopback."""
    address = f"unix://{folder}/docker.sock"
    command = [
        "dockerd",
        *("--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"),
        *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
        *("--pidfile", str(folder / "docker.pid"), "-H", address),
    ]
    with running(command, folder / "dockerd.log", ["docker", "-H", address, "version"]):
        yield address
    _unmount(folder)


@contextlib.contextmanager
def containerd(folder: Path) -> Iterator[str]:
    """Debian's containerd; yields its address."""
    address = f"{folder}/containerd.sock"
    settings = folder / "containerd.toml"
    settings.write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n[grpc]\naddress = "{address}"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
    )
    ready = ["ctr", "-a", address, "version"]
    with running(["containerd", "-c", str(settings)], folder / "containerd.log", ready):
        yield address
    _unmount(folder)


@contextlib.contextmanager
def buildkitd(folder: Path, registry: str) -> Iterator[str]:
    """BuildKit with a worker of its own, which speaks plain HTTP to `registry`; yields its address."""
    address = f"unix://{folder}/buildkitd.sock"
    settings = folder / "buildkitd.toml"
    settings.write_text(
        f'root = "{folder}/root"\n[worker.oci]\nenabled = true\nsnapshotter = "native"\n'
        f'[worker.containerd]\nenabled = false\n[registry."{registry}"]\nhttp = true\ninsecure = true\n'
    )
    command = ["buildkitd", "--config", str(settings), "--addr", address]
    with running(command, folder / "buildkitd.log", ["buildctl", "--addr", address, "debug", "workers"]):
        yield address
    _unmount(folder)


def _unmount(folder: Path) -> None:
    """What an engine has left mounted below its folder would keep that from being deleted."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((each for each in mounts if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
