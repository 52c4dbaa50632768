"""A Berth that pulls through from another Berth: by name and password, from a private project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import layout
from tests.clients.conftest import Run, Server
from tests.clients.proxycache.pulls import PULLS, make_proxy, wait_until_stale
from tests.infra.local.instance import PASSWORD, Instance


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("far") / "state")
    instance.start()
    yield instance
    instance.stop()


def test_its_images_come_through_and_stay(run: Run, berth: Server, far: Instance, tmp_path: Path) -> None:
    there = Server(far.url, "admin", PASSWORD)
    project = there.make_project(public=False)
    digest = layout.small(tmp_path / "image", size=300_000)
    push = ("--dest-tls-verify=false", "--dest-creds", there.credentials)
    run("skopeo", "copy", *push, f"oci:{tmp_path / 'image'}:latest", f"docker://{there.registry}/{project}/app:v1")
    proxy = make_proxy(berth, far.url, "harbor", credential=(there.user, there.password))
    here = f"{proxy.name}/{project}/app"
    for client, pull in PULLS.items():
        assert pull(run, f"{here}:v1", tmp_path / client) == digest
    assert run("crane", "ls", here).split() == ["v1"]
    run("crane", "manifest", f"{make_proxy(berth, far.url, 'harbor').name}/{project}/app:v1", fails=True)
    far.stop()
    wait_until_stale()
    assert PULLS["crane"](run, f"{here}:v1", tmp_path / "down") == digest
