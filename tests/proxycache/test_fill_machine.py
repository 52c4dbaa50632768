"""Blobs asked for are fetched by the deployed state machine: once, soon, and again after it has died."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.proxycache import filling
from chalicelib.registry.errors import RegistryError
from tests.proxycache.filled import Proxy, content_of

pytestmark = pytest.mark.usefixtures("fill_function")

MIB = 1 << 20


def wait_for(proxy: Proxy, digest: str, seconds: float = 60.0) -> bytes | RegistryError:
    """What a client that waits gets in the end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        content = content_of(proxy.repository, digest)
        if content is not None:
            return content
        found = filling.state(proxy.repository, digest, proxy.registry)
        if found.error is not None:
            return found.error
        if not found.is_running:
            filling.ensure(proxy.repository, [digest], proxy.registry)
        time.sleep(0.05)
    raise AssertionError("nothing came")


def test_all_blobs_come_side_by_side_each_once(proxy: Proxy) -> None:
    contents = [os.urandom(size) for size in (20 * MIB, 9 * MIB, 3000, 100, 0)]
    blobs = [proxy.upstream.put_blob(content) for content in contents]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: filling.ensure(proxy.repository, blobs, proxy.registry), range(8)))
    for digest, content in zip(blobs, contents, strict=True):
        assert wait_for(proxy, digest) == content
        assert proxy.upstream.sent(f"*{digest}") == len(content)


def test_the_first_byte_is_asked_for_soon(proxy: Proxy) -> None:
    for _ in range(5):
        digest = proxy.upstream.put_blob(os.urandom(1000))
        proxy.upstream.forget()
        began = time.monotonic()
        filling.ensure(proxy.repository, [digest], proxy.registry)
        asked = time.monotonic()
        while not proxy.upstream.count():
            time.sleep(0.001)
        seen = time.monotonic()
        wait_for(proxy, digest)
        print(f"ensure {asked - began:.3f} first byte {seen - began:.3f} there {time.monotonic() - began:.3f}")
