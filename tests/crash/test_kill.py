"""`make run` killed in the middle of pushes: what was acknowledged is there when it is back."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.crash.client import Client, Image
from tests.infra.local.instance import Instance

ROUNDS = int(os.environ.get("BERTH_CRASH_ROUNDS", "4"))
PUSHERS = 3


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(tmp_path / "state")
    instance.start()
    try:
        yield instance
    finally:
        instance.stop()


class Pusher(threading.Thread):
    """Pushes image after image until the registry goes away, and remembers what it was told."""

    def __init__(self, client: Client, repository: str) -> None:
        super().__init__(daemon=True)
        self.repository = repository
        self.images: list[Image] = []
        self.deleted: list[Image] = []
        self.latest: set[str | None] = {None}
        """What the tag `latest` may name: what was acknowledged last, and what was under way."""
        self._client = client
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            while True:
                self._push_one()
        except urllib3.exceptions.HTTPError:
            return
        except BaseException as error:
            self.fault = error

    def _push_one(self) -> None:
        tag = os.urandom(6).hex()
        image = self._client.push(self.repository, tag)
        self.images.append(image)
        self.latest.add(image.digest)
        self._client.tag(image, "latest")
        self.latest = {image.digest}
        if len(self.images) % 5 == 0:
            self.deleted.append(self.images.pop(0))
            self._client.delete_tag(self.deleted[-1])


def test_every_acknowledged_image_survives_a_kill_of_everything(instance: Instance) -> None:
    client = Client(instance.url)
    repositories = [f"library/crash{number}" for number in range(PUSHERS)]
    client.log_in(*repositories)
    pushers: list[Pusher] = []
    for _ in range(ROUNDS):
        current = [Pusher(client, repository) for repository in repositories]
        for pusher, before in zip(current, pushers[-PUSHERS:] or current, strict=True):
            pusher.latest = set(before.latest)
            pusher.start()
        time.sleep(random.uniform(0.5, 3))
        instance.kill()
        for pusher in current:
            pusher.join(60)
            if pusher.fault:
                raise pusher.fault
        pushers += current
        instance.start()
        assert instance.health() == "healthy"
        _check(client, pushers, pushers[-PUSHERS:])
    assert sum(len(pusher.images) for pusher in pushers) > ROUNDS
    instance.stop()
    instance.start()
    client.log_in(*repositories)
    _check(client, pushers, pushers[-PUSHERS:])


def _check(client: Client, pushers: list[Pusher], newest: list[Pusher]) -> None:
    """With the token of before the kills, too: the signing key is the same."""
    for pusher in pushers:
        for image in pusher.images:
            client.pull(image)
        for image in pusher.deleted[:-1]:
            assert client.digest_of(image.repository, image.tag) is None
    for pusher in newest:
        assert client.digest_of(pusher.repository, "latest") in pusher.latest


@pytest.mark.parametrize("part", ["cloud", "gateway"])
def test_a_part_that_is_killed_ends_the_run_with_one_line(instance: Instance, part: str) -> None:
    client = Client(instance.url)
    client.log_in("library/app")
    image = client.push("library/app", "v1")
    os.kill(instance.facts[f"{part}_pid"], signal.SIGKILL)
    assert instance.process is not None
    said, _ = instance.process.communicate(timeout=30)
    assert instance.process.returncode == 1
    assert [line for line in said.splitlines() if line][1:] == [], said
    assert f"berth: the {part} process was ended by SIGKILL" in said
    instance.wait_until_gone()
    instance.start()
    client.pull(image)


def test_parts_end_by_themselves_when_the_supervisor_is_killed(instance: Instance) -> None:
    client = Client(instance.url)
    client.log_in("library/app")
    image = client.push("library/app", "v1")
    os.kill(instance.facts["pid"], signal.SIGKILL)
    assert instance.process is not None
    instance.process.wait()
    instance.wait_until_gone()
    instance.start()
    client.pull(image)


def test_killed_while_it_saves(instance: Instance) -> None:
    client = Client(instance.url)
    client.log_in("library/app")
    images = [client.push("library/app", f"v{number}") for number in range(3)]
    for delay in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):
        os.kill(instance.facts["cloud_pid"], signal.SIGTERM)
        time.sleep(delay)
        instance.kill()
        instance.start()
        for image in images:
            client.pull(image)
        images.append(client.push("library/app", f"after{delay}"))
