"""buildah: builds on a base that it pulled from Berth, and pushes what it built."""

from __future__ import annotations

import json
from pathlib import Path

from tests.clients.conftest import Run

PLAIN = "--tls-verify=false"


def test_a_build_on_a_pulled_base(run: Run, repository: str, debian: tuple[Path, str], tmp_path: Path) -> None:
    base, built = f"{repository}:base", f"{repository}:built"
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{debian[0]}:latest", f"docker://{base}")
    (tmp_path / "Containerfile").write_text(f"FROM {base}\nRUN cat /etc/berth /etc/debian_version > /built\n")
    store = ("--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs")
    run("buildah", *store, "build", PLAIN, "--isolation", "chroot", "-t", built, str(tmp_path))
    run("buildah", *store, "push", PLAIN, built, f"docker://{built}")
    inspected = json.loads(run("skopeo", "inspect", PLAIN, f"docker://{built}"))
    of_base = json.loads(run("skopeo", "inspect", PLAIN, f"docker://{base}"))
    assert len(inspected["Layers"]) > 0
    assert inspected["Digest"] != of_base["Digest"]
    run("buildah", *store, "rmi", "--all", "--force")
    container = run("buildah", *store, "from", PLAIN, built).strip().splitlines()[-1]
    printed = run("buildah", *store, "run", "--isolation", "chroot", container, "cat", "/built")
    assert printed.startswith("pushed to Berth")
