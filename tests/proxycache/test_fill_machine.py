"""Blobs asked for are fetched by the deployed state machine: once, soon, and again after it has died."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.oci.errors import BlobUnknown, RegistryError, UpstreamFailed
from chalicelib.proxycache import filling
from chalicelib.proxycache.store import fills
from chalicelib.storage import reads
from tests.conftest import URL
from tests.proxycache.filled import Proxy, content_of, let_be_tried_again
from tests.upstreams.servers import faults

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


def test_upstream_is_asked_soon(proxy: Proxy) -> None:
    """Clients wait for it. The first start of the function is not counted."""
    waits = []
    for _ in range(4):
        digest = proxy.upstream.put_blob(os.urandom(1000))
        proxy.upstream.forget()
        began = time.monotonic()
        filling.ensure(proxy.repository, [digest], proxy.registry)
        while not proxy.upstream.count():
            assert time.monotonic() - began < 30
            time.sleep(0.005)
        waits.append(time.monotonic() - began)
        wait_for(proxy, digest)
    assert min(waits[1:]) < 1


def test_one_who_waits_is_told_what_went_wrong_and_later_it_is_tried_again(proxy: Proxy) -> None:
    content = os.urandom(1000)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", faults.wrong_bytes(), faults.refuse(404))
    error = wait_for(proxy, digest)
    assert isinstance(error, UpstreamFailed)
    assert digest in error.message
    let_be_tried_again(proxy.wanted(digest))
    assert isinstance(wait_for(proxy, digest), BlobUnknown)
    let_be_tried_again(proxy.wanted(digest))
    assert wait_for(proxy, digest) == content


def test_a_request_whose_execution_died_is_taken_up_by_the_next_who_asks(proxy: Proxy) -> None:
    """As after a kill of the local cloud: it keeps tables, and no executions."""
    content = os.urandom(1000)
    digest = proxy.upstream.put_blob(content)
    proxy.ask(digest)
    filling.ensure(proxy.repository, [digest], proxy.registry)
    assert filling.state(proxy.repository, digest, proxy.registry).is_running
    assert not proxy.upstream.count("GET", f"*{digest}")
    let_be_tried_again(proxy.wanted(digest))
    assert wait_for(proxy, digest) == content


def test_a_request_that_waits_for_its_turn_is_not_started_twice(proxy: Proxy) -> None:
    """Its execution is at another blob, and shows no sign of being at this one."""
    first, second = (proxy.upstream.put_blob(os.urandom(size)) for size in (MIB, 1000))
    proxy.upstream.script(f"*{first}", faults.late(4), always=True)
    filling.ensure(proxy.repository, [first, second], proxy.registry, {first: MIB, second: 1000})
    request = reads.get_item(fills.request_key(proxy.wanted(second)))
    let_be_tried_again(proxy.wanted(second))
    assert not filling.state(proxy.repository, second, proxy.registry).is_running
    filling.ensure(proxy.repository, [second], proxy.registry)
    assert filling.state(proxy.repository, second, proxy.registry).is_running
    assert request is not None
    assert reads.get_item(fills.request_key(proxy.wanted(second)), ("execution",))["execution"] == request["execution"]
    assert isinstance(wait_for(proxy, second), bytes)


@pytest.mark.slow
def test_a_function_that_is_killed_in_the_middle_is_called_again_and_goes_on(proxy: Proxy) -> None:
    content = os.urandom(90 * MIB)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", faults.drip(4e6), always=True)
    filling.ensure(proxy.repository, [digest], proxy.registry)
    while proxy.upstream.sent(f"*{digest}") < 20 * MIB:
        time.sleep(0.05)
    for process in workers():
        os.kill(process, signal.SIGKILL)
    assert content_of(proxy.repository, digest) is None
    proxy.upstream.heal()
    assert wait_for(proxy, digest, 120) == content


def workers() -> list[int]:
    """The processes of the function, in this session's own cloud."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (process / "environ").read_bytes().split(b"\0")
            is_own = f"AWS_ENDPOINT_URL={URL}".encode() in variables
            if is_own and any(each.startswith(b"AWS_LAMBDA_FUNCTION_NAME=berth-FillBlobs") for each in variables):
                found.append(int(process.name))
    assert found
    return found
