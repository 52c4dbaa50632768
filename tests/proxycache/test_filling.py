"""Blobs fetched from an upstream registry: whole or not at all, each byte once, and further on after whatever happened."""

from __future__ import annotations

import os
import time

import pytest

from chalicelib.proxycache import filling, reception, steps
from chalicelib.proxycache.transfer import PIECE
from chalicelib.registry import digests
from chalicelib.registry.errors import BlobUnknown, QuotaExceeded, TooManyRequests, UpstreamFailed
from tests.proxycache.filled import Proxy, content_of
from tests.proxycache.upstreams import faults
from tests.proxycache.upstreams.contents import digest_of
from tests.proxycache.upstreams.faults import Fault
from tests.proxycache.upstreams.scripted import Scripted, scripted

MIB = 1 << 20
DONE = {"digests": [], "wait": 0, "done": True}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "_PAUSE", 0.01)


def test_a_large_blob_comes_by_ranges_each_byte_once(proxy: Proxy) -> None:
    content = os.urandom(5 * PIECE + 12345)
    digest = proxy.upstream.put_blob(content)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content
    asked = proxy.upstream.asked("GET", f"*{digest}")
    assert [each.status for each in asked] == [206] * 6
    assert proxy.upstream.sent(f"*{digest}") == len(content)
    assert proxy.upstream.count("HEAD") == 0
    assert proxy.lease(digest) is None


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1, 4 * PIECE])
def test_blobs_of_any_size(proxy: Proxy, size: int) -> None:
    content = os.urandom(size)
    digest = proxy.upstream.put_blob(content)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content


def test_a_digest_of_another_algorithm(proxy: Proxy) -> None:
    content = os.urandom(2 * PIECE + 7)
    digest = digests.of(content, "sha512")
    proxy.upstream.blobs[digest] = content
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content


_PASSING: dict[str, list[Fault]] = {
    "refused for a moment": [faults.refuse(503), faults.refuse(500)],
    "limited for a moment": [faults.too_many("1")],
    "limited, it does not say for how long": [faults.too_many(None)],
    "hung up": [faults.hang_up(), faults.hang_up()],
    "cut at once": [faults.cut(0)],
    "cut in the middle": [faults.cut(100_000), faults.cut(3 * MIB), faults.cut(1)],
    "cut where no length was told": [faults.together(faults.chunked(), faults.cut(100_000))],
    "in chunks": [faults.chunked()] * 3,
    "a whole blob for a range": [faults.well(), faults.ignores_ranges(), faults.well(), faults.ignores_ranges()],
}


@pytest.mark.parametrize("fault", _PASSING)
@pytest.mark.parametrize("size", [MIB, 3 * PIECE + 5], ids=["small", "large"])
def test_what_goes_wrong_for_a_moment_costs_only_what_was_lost(proxy: Proxy, fault: str, size: int) -> None:
    content = os.urandom(size)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", *_PASSING[fault])
    assert proxy.step([digest]) == DONE
    assert proxy.error(digest) is None
    assert content_of(proxy.repository, digest) == content


def test_an_upstream_without_ranges_is_read_once(proxy: Proxy) -> None:
    content = os.urandom(3 * PIECE + 5)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", faults.ignores_ranges(), always=True)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content
    assert [each.status for each in proxy.upstream.asked("GET", f"*{digest}")] == [200]


@pytest.mark.parametrize("size", [MIB, 3 * PIECE + 5], ids=["small", "large"])
@pytest.mark.parametrize("told", [False, True], ids=["in chunks", "with a length"])
def test_an_upstream_without_ranges_that_breaks_off_is_read_again(proxy: Proxy, size: int, told: bool) -> None:
    content = os.urandom(size)
    digest = proxy.upstream.put_blob(content)
    kind = faults.ignores_ranges() if told else faults.together(faults.ignores_ranges(), faults.chunked())
    proxy.upstream.script(f"*{digest}", faults.together(kind, faults.cut(size // 2)), faults.refuse(503))
    proxy.upstream.script(f"*{digest}", kind, always=True)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content


def test_a_blob_on_another_host_is_fetched_there(proxy: Proxy) -> None:
    content = os.urandom(2 * PIECE + 5)
    digest = proxy.upstream.put_blob(content)
    with scripted() as cdn:
        proxy.upstream.redirect_blobs(cdn)
        assert proxy.step([digest]) == DONE
        assert cdn.sent("*") == len(content)
    assert content_of(proxy.repository, digest) == content


_WRONG: dict[str, Fault] = {
    "other bytes": faults.wrong_bytes(),
    "a byte that is wrong at the end": faults.wrong_bytes(-1),
    "a length that is too long": faults.says_length(PIECE * 4),
    "a length that is too short": faults.says_length(100),
    "another range": faults.says_range(f"bytes 1-{PIECE}/{10 * PIECE}"),
    "no range that can be read": faults.says_range("bytes all of it"),
    "a size that is too small": faults.together(faults.ignores_ranges(), faults.says_length(1000)),
}


@pytest.mark.parametrize("fault", _WRONG)
@pytest.mark.parametrize("size", [MIB, 2 * PIECE + 5], ids=["small", "large"])
def test_wrong_bytes_are_never_seen_and_whoever_waits_is_told(proxy: Proxy, fault: str, size: int) -> None:
    content = os.urandom(size)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", _WRONG[fault], always=True)
    assert proxy.step([digest]) == DONE
    error = proxy.error(digest)
    assert isinstance(error, UpstreamFailed)
    assert digest in error.message
    assert content_of(proxy.repository, digest) is None
    proxy.upstream.heal()
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content


def test_a_size_that_changes_between_ranges_ends_it(proxy: Proxy) -> None:
    content = os.urandom(4 * PIECE)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", faults.well())
    proxy.upstream.script(f"*{digest}", faults.says_range(f"bytes {PIECE}-{2 * PIECE - 1}/{5 * PIECE}"), always=True)
    assert proxy.step([digest], connections=1) == DONE
    error = proxy.error(digest)
    assert isinstance(error, UpstreamFailed)
    assert "size" in error.message
    assert content_of(proxy.repository, digest) is None


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.refuse(404), BlobUnknown),
        (faults.refuse(401), UpstreamFailed),
        (faults.refuse(403), UpstreamFailed),
        (faults.refuse(500), UpstreamFailed),
        (faults.hang_up(), UpstreamFailed),
        (faults.redirect("{path}"), UpstreamFailed),
        (faults.too_many("300"), TooManyRequests),
    ],
    ids=["404", "401", "403", "500", "hang up", "redirects in a circle", "429"],
)
def test_what_upstream_does_not_give_is_told_to_whoever_waits(
    proxy: Proxy, fault: Fault, expected: type[Exception]
) -> None:
    digest = proxy.upstream.put_blob(os.urandom(1000))
    proxy.upstream.script(f"*{digest}", fault, always=True)
    assert proxy.step([digest]) == DONE
    error = proxy.error(digest)
    assert type(error) is expected
    if isinstance(error, TooManyRequests):
        assert 290 <= int(error.headers["Retry-After"]) <= 300
    asked = len(proxy.upstream.asked())
    filling.ensure(proxy.repository, [digest], proxy.registry)
    assert len(proxy.upstream.asked()) == asked, "it is left alone for a while"
