"""Clients push, mount, pull and delete images that share layers, over HTTP, while the collector never rests.

40 seconds, or BERTH_SOAK_SECONDS (`make soak`: ten minutes). The window is what a push may really take here, and the
grace is seconds: docs/gc.md, "Times".
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.crash.client import MEDIA_TYPE, Client, Image, _digest
from tests.infra.local.instance import PROJECT, Instance

SECONDS = float(os.environ.get("BERTH_SOAK_SECONDS", "40"))
CLIENTS = 3
WINDOW, GRACE = 18, 2

LAYERS = [os.urandom(3000) for _ in range(6)]
"""All images are made of these: what one client lets go of, another needs."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(
        tmp_path / "state",
        BERTH_GC_UNSAFE_TIMES="true",
        BERTH_GC_WINDOW_SECONDS=str(WINDOW),
        BERTH_GC_GRACE_SECONDS=str(GRACE),
        BERTH_CANDIDATE_RENEW_SECONDS="1",
        BERTH_PUSH_SECONDS="30",
    )
    instance.start()
    try:
        yield instance
    finally:
        instance.stop()


class SharingClient(Client):
    """Pushes as stock clients do: it asks for a blob, mounts it, and uploads it only if it must."""

    def push_shared(self, repository: str, other: str, tag: str, layers: list[bytes]) -> Image:
        config = json.dumps({"architecture": "amd64", "tag": tag, "id": random.random()}).encode()
        blobs = [config, *layers]
        for blob in blobs:
            self._provide(repository, other, blob)
        entries = [{"mediaType": "application/octet-stream", "digest": _digest(b), "size": len(b)} for b in blobs]
        document = {"schemaVersion": 2, "mediaType": MEDIA_TYPE, "config": entries[0], "layers": entries[1:]}
        image = Image(repository, tag, json.dumps(document).encode(), tuple(map(_digest, blobs)))
        self.tag(image, tag)
        return image

    def delete_image(self, image: Image) -> None:
        self._call("DELETE", f"/v2/{image.repository}/manifests/{image.digest}", 202)

    def _provide(self, repository: str, other: str, blob: bytes) -> None:
        digest = _digest(blob)
        if self._request("HEAD", f"/v2/{repository}/blobs/{digest}").status == 307:
            return
        if random.random() < 0.5:
            path = f"/v2/{repository}/blobs/uploads/?mount={digest}&from={other}"
            started = self._request("POST", path)
            if started.status == 201:
                return
            location = urljoin(self.url, started.headers["Location"])
            joint = "&" if "?" in location else "?"
            self._call("PUT", f"{location}{joint}digest={digest}", 201, body=blob)
        else:
            self._upload(repository, blob)


class Worker(threading.Thread):
    """A client with tags of its own, which remembers what must be there."""

    def __init__(self, client: SharingClient, number: int, until: float) -> None:
        super().__init__(daemon=True)
        self.client, self.until = client, until
        self.repository, self.other = f"library/soak{number}", f"library/soak{(number + 1) % CLIENTS}"
        self.images: dict[str, Image] = {}
        self.done = 0
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self.until:
                self.step()
                self.done += 1
        except BaseException as error:
            self.fault = error

    def step(self) -> None:
        tag = f"v{random.randrange(4)}"
        image = self.images.get(tag)
        choice = random.random()
        if image is None or choice < 0.4:
            layers = random.sample(LAYERS, random.randint(1, 3))
            self.images[tag] = self.client.push_shared(self.repository, self.other, tag, layers)
            self.client.pull(self.images[tag])
        elif choice < 0.6:
            self.client.pull(image)
        elif choice < 0.8:
            self.client.delete_tag(image)
            del self.images[tag]
        else:
            self.client.delete_image(image)
            del self.images[tag]


def soak(instance: Instance, *options: str) -> tuple[list[Worker], subprocess.Popen[str]]:
    """Let clients and the collector loose; returns them when the clients have ended, the collector still running."""
    repositories = [f"library/soak{number}" for number in range(CLIENTS)]
    pairs = Path(f"/proc/{instance.facts['gateway_pid']}/environ").read_bytes().decode().split("\0")
    environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    collecting = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.collect", *options],
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    workers = []
    until = time.monotonic() + SECONDS
    for number in range(CLIENTS):
        client = SharingClient(instance.url)
        client.log_in(*repositories)
        workers.append(Worker(client, number, until))
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        time.sleep(min(60, SECONDS))
        for worker in workers:
            worker.client.log_in(*repositories)  # a token lives for minutes only
        for worker in workers:
            worker.join(0.1)
            if worker.fault:
                return workers, collecting
    return workers, collecting


def test_nothing_is_lost_and_nothing_is_left(instance: Instance) -> None:
    workers, collecting = soak(instance)
    for worker in workers:
        if worker.fault:
            collecting.kill()
            raise worker.fault
    for worker in workers:
        for image in worker.images.values():
            worker.client.pull(image)
    said, _ = collecting.communicate("", timeout=300)
    assert collecting.returncode == 0, said
    assert "what is left is what is referenced" in said
    [purged] = re.findall(r"purged (\d+) blobs beside clients", said)
    assert int(purged) > 0
    for worker in workers:
        worker.client.log_in(worker.repository)
        for image in worker.images.values():
            worker.client.pull(image)
    print(f"{sum(worker.done for worker in workers)} steps of clients; {said}")
    assert sum(worker.done for worker in workers) > CLIENTS


def test_the_same_without_the_handshake_fails(instance: Instance) -> None:
    """So the test above would see it: without its look at the edges the collector deletes what is in use."""
    workers, collecting = soak(instance, "blind")
    broken = [worker.fault for worker in workers if worker.fault]
    time.sleep(WINDOW + GRACE + 25)  # what was used last is due then, and the rounds that delete it take their time
    for worker in workers:
        worker.client.log_in(worker.repository)
        for image in worker.images.values():
            try:
                worker.client.pull(image)
            except AssertionError as error:
                broken.append(error)
    said, _ = collecting.communicate("", timeout=60)
    assert collecting.returncode == 0, said
    assert broken, said
