"""A clock that tests move, and the collector run beside it."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from chalicelib.gc.records import Tally, Times
from chalicelib.oci import digests, manifests
from chalicelib.registry import push
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.storage import blobstore, conditions
from tests.gc import collector
from tests.registry.images import CONFIG, image, push_blob

HOUR = 3600
TIMES = Times(window=2 * HOUR * 1000, grace=2 * HOUR * 1000)


class Clock:
    """What the code takes for the time: the real one, moved on by what a test asks for."""

    def __init__(self) -> None:
        self._ahead = 0
        self._now = conditions.now

    def now(self) -> int:
        return self._now() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += int(seconds * 1000)


_ahead = Clock()
"""Of the session: it never goes back, so that all that a test has left is old for the next."""


@pytest.fixture
def clock(cloud: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Clock:
    return _use(_ahead, monkeypatch)


@pytest.fixture
def past(cloud: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that is hours behind: what a test does is old for the functions, whose clock is right."""
    clock = Clock()
    clock.advance(-5 * HOUR)
    return _use(clock, monkeypatch)


def _use(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    for name, module in list(sys.modules.items()):
        own = name.startswith(("chalicelib.", "tests.gc.collector")) and module is not conditions
        if own and getattr(module, "now", None) is conditions.now:
            monkeypatch.setattr(module, "now", clock.now)
    return clock


class Collect:
    """Runs the collector as of a time well after whatever the test did."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self()  # what other tests have left

    def __call__(self, **options: Any) -> Tally:
        self.clock.advance(3 * HOUR)
        return collector.run(TIMES, sleep=self.clock.advance, **options)


@pytest.fixture
def collect(cloud: dict[str, str], clock: Clock) -> Collect:
    return Collect(clock)


def names_of(content: bytes) -> list[str]:
    """The blobs that an image's manifest names."""
    document = json.loads(content)
    return [entry["digest"] for entry in (document["config"], *document["layers"])]


def is_whole(repository: str, digest: str, content: bytes) -> bool:
    """Whether an image pulls: its manifest, and each blob with its link and bytes."""
    if manifest_table.read_record(repository, digest) is None:
        return False
    for name in names_of(content):
        blob, link = blob_table.read(repository, name)
        if blob is None or link is None or link.object_key != blob.object_key or not blobstore.exists(blob.object_key):
            return False
    return True


def push_by_digest(repository: str, **more: Any) -> bytes:
    """An image without a tag."""
    config = push_blob(repository, os.urandom(16), CONFIG)
    content = image(config, *(push_blob(repository, os.urandom(32)) for _ in range(2)), **more)
    push.manifest(repository, digests.of(content), content, manifests.OCI_MANIFEST)
    return content
