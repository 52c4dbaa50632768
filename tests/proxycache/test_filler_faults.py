"""A filler that dies between any two of its writes leaves nothing half done in sight, and the next one ends it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.oci import manifests
from chalicelib.proxycache import filler, reception, transfer
from chalicelib.registry import push, upload_writer
from chalicelib.storage import aws_json, tables
from tests.proxycache.filled import Proxy, content_of, expire_lease
from tests.registry.accounting import assert_exact
from tests.registry.images import descriptor, image
from tests.registry.test_faults import Killed

MIB = 1 << 20
DONE = {"digests": [], "wait": 0, "done": True}

_WRITES = {
    *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"),
    *("PutObject", "DeleteObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),
}


@contextlib.contextmanager
def dead_from(number: int, moment: str) -> Iterator[list[str]]:
    """Die `before-call` or `after-call` of the store write with this number, and at all that follow."""
    seen: list[str] = []

    def before(event_name: str, **_: Any) -> None:
        operation = event_name.rpartition(".")[2]
        if operation not in _WRITES:
            return
        if len(seen) > number or (len(seen) == number and moment == "before-call"):
            seen.append(operation)
            raise Killed(operation)
        seen.append(operation)

    def after(event_name: str, **_: Any) -> None:
        if event_name.rpartition(".")[2] in _WRITES and len(seen) > number:
            raise Killed

    hubs = [tables.connection().client.meta.events, aws_json.events]
    for hub in hubs:
        hub.register("before-call.*.*", before)
        hub.register("after-call.*.*", after)
    try:
        yield seen
    finally:
        for hub in hubs:
            hub.unregister("before-call.*.*", before)
            hub.unregister("after-call.*.*", after)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large blobs are those of more than 6 MiB, so that many can be fetched."""
    monkeypatch.setattr(reception, "_PAUSE", 0.01)
    monkeypatch.setattr(upload_writer, "_PART", 6 * MIB)
    monkeypatch.setattr(upload_writer, "_PROGRESS", 6 * MIB)
    monkeypatch.setattr(transfer, "PIECE", 2 * MIB)
    monkeypatch.setattr(filler, "PIECE", 2 * MIB)
    monkeypatch.setattr(transfer, "_WHOLE", 6 * MIB)


@pytest.mark.parametrize("moment", ["before-call", "after-call"])
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(1000, id="small"),
        pytest.param(5 * MIB, id="one piece"),
        pytest.param(14 * MIB, id="parts", marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_write(proxy: Proxy, size: int, moment: str) -> None:
    number, finished = 0, False
    while not finished:
        content = os.urandom(size)
        digest = proxy.upstream.put_blob(content)
        push.manifest(proxy.repository, "latest", image(descriptor(content)), manifests.OCI_MANIFEST)
        execution = proxy.ask(digest)
        with dead_from(number, moment) as seen, contextlib.suppress(Killed):
            finished = proxy.step([digest], execution) == DONE
        assert content_of(proxy.repository, digest) in ((content,) if finished else (None, content)), seen
        expire_lease(proxy.registry, digest)
        assert proxy.step([digest], execution) == DONE
        assert content_of(proxy.repository, digest) == content, seen
        assert proxy.error(digest) is None
        number += 1
    assert_exact(proxy.project)
    assert number > 5
