"""Fillers of proxy projects killed at any moment: no part of a blob is ever to be had, and the next pull has it all."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import urllib3

from tests.crash.client import Client
from tests.infra.local.instance import PASSWORD, Instance
from tests.upstreams.servers import faults
from tests.upstreams.servers.contents import MANIFEST, Image, digest_of
from tests.upstreams.servers.scripted import Scripted, scripted

ROUNDS = int(os.environ.get("BERTH_CRASH_ROUNDS", "2"))
IMAGES = 5
KILLS = 3
LARGE, SMALL = 80_000_000, 3_000_000
"""Bytes of a layer: one that is several parts of an upload, and one that comes in one piece."""
HUGE, IN_FLIGHT = 400_000_000, 224_000_000
"""Bytes of a layer that is killed late, and most that a kill may lose: what is in memory, or not recorded yet."""
SPEED = 4_000_000
"""Bytes a second of a connection to the upstream registry: a fill takes seconds."""
PATIENCE = 180


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(
        tmp_path / "state",
        BERTH_OUTBOUND_ALLOWED="127.0.0.0/8",
        BERTH_PROXY_WAIT_SECONDS="1",
    )
    instance.start()
    try:
        yield instance
    finally:
        instance.stop()


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    with scripted() as running:
        running.script("*/blobs/*", faults.drip(SPEED), method="GET", always=True)
        yield running


class Puller:
    """Pulls through a proxy project, and tells what is there from what is still awaited."""

    def __init__(self, instance: Instance, project: str) -> None:
        self._host = urlsplit(instance.url).netloc
        self._url, self.project = instance.url, project
        self._http = urllib3.PoolManager(maxsize=IMAGES * 2, retries=False, timeout=60)
        self._client = Client(instance.url)

    def log_in(self, repositories: list[str]) -> None:
        self._client.log_in(*(f"{self.project}/{repository}" for repository in repositories))

    def manifest(self, repository: str, image: Image) -> None:
        answer = self._get(f"/v2/{self.project}/{repository}/manifests/{image.digest}", Accept=MANIFEST)
        assert (answer.status, answer.data) == (200, image.manifest), answer.data

    def is_there(self, repository: str, digest: str) -> bool:
        """Whether a blob is to be had; if so, see that it is whole."""
        answer = self._get(f"/v2/{self.project}/{repository}/blobs/{digest}")
        if answer.status in (502, 503):
            return False
        assert answer.status == 307, answer.data
        location = urljoin(self._url, answer.headers["Location"])
        if urlsplit(location).netloc == self._host:
            return False
        assert digest_of(self._http.request("GET", location).data) == digest
        return True

    def pull(self, repository: str, image: Image) -> None:
        self.manifest(repository, image)
        deadline = time.monotonic() + PATIENCE
        for digest in image.blobs:
            while not self.is_there(repository, digest):
                assert time.monotonic() < deadline, f"{repository}: {digest} does not come"
                time.sleep(0.2)

    def _get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        given = {"Authorization": f"Bearer {self._client.token}", **headers}
        return self._http.request("GET", urljoin(self._url, path), headers=given, redirect=False)


def make_puller(instance: Instance, upstream: Scripted) -> Puller:
    """Of a new proxy project."""
    name = f"proxy{os.urandom(4).hex()}"
    endpoint = {"name": name, "type": "docker-registry", "url": upstream.url, "insecure": True}
    number = int(_post(instance, "registries", endpoint).rpartition("/")[2])
    _post(instance, "projects", {"project_name": name, "registry_id": number, "metadata": {"public": "true"}})
    return Puller(instance, name)


def _post(instance: Instance, collection: str, document: dict[str, Any]) -> str:
    credentials = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{instance.url}/api/v2.0/{collection}", json.dumps(document).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.headers["Location"])


def fillers(instance: Instance) -> list[int]:
    """The processes in which the local cloud runs the function that fills."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == instance.facts["cloud_pid"] and b"FillBlobs" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def kill_fillers(instance: Instance) -> int:
    pids = fillers(instance)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return len(pids)


def test_a_killed_filler_leaves_nothing_partial_and_the_pull_goes_on(instance: Instance, upstream: Scripted) -> None:
    """Several fills at different stages when all fillers are killed, at random moments, again and again."""
    killed = 0
    for each in range(ROUNDS):
        puller = make_puller(instance, upstream)
        names = [f"app{each}-{number}" for number in range(IMAGES)]
        images = {
            name: upstream.put_image(name, "v1", layers=[os.urandom(LARGE), *(os.urandom(SMALL) for _ in range(2))])
            for name in names
        }
        puller.log_in(names)
        with ThreadPoolExecutor(IMAGES) as pool:
            pulls = []
            for name, image in images.items():
                pulls.append(pool.submit(puller.pull, name, image))
                time.sleep(random.uniform(0, 0.5))
            for _ in range(KILLS):
                time.sleep(random.uniform(0.2, 2))
                killed += kill_fillers(instance)
                for name, image in images.items():
                    for digest in image.blobs:
                        puller.is_there(name, digest)
            for pull in pulls:
                pull.result()
    assert killed >= ROUNDS, "no filler was at work when it was to be killed"


def test_who_takes_over_goes_on_where_the_killed_filler_was(instance: Instance, upstream: Scripted) -> None:
    puller = make_puller(instance, upstream)
    image = upstream.put_image("app", "v1", layers=[os.urandom(HUGE)])
    path = f"*/blobs/{image.layers[0]}"
    puller.log_in(["app"])
    puller.manifest("app", image)
    deadline = time.monotonic() + PATIENCE
    while (before := upstream.sent(path)) < HUGE * 4 // 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert kill_fillers(instance)
    puller.pull("app", image)
    assert upstream.sent(path) - before < HUGE - before + IN_FLIGHT < HUGE


def test_a_fill_that_ends_with_the_whole_cloud_is_begun_again(instance: Instance, upstream: Scripted) -> None:
    puller = make_puller(instance, upstream)
    image = upstream.put_image("app", "v1", layers=[os.urandom(LARGE), os.urandom(SMALL)])
    puller.log_in(["app"])
    puller.manifest("app", image)
    deadline = time.monotonic() + 60
    while upstream.sent(f"*/blobs/{image.layers[0]}") < LARGE // 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    instance.kill()
    instance.start()
    puller.log_in(["app"])
    puller.pull("app", image)
