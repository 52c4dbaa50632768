"""Blobs fetched from an upstream registry: whole or not at all, each byte once, and on from where they broke off."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import BlobUnknown, QuotaExceeded, TooManyRequests, UpstreamFailed
from chalicelib.project_deletion import delete as delete_project
from chalicelib.projects import quotas, rules
from chalicelib.proxycache import filler, filling, leases, reception, steps
from chalicelib.proxycache.filler import SAMPLE
from chalicelib.proxycache.store import fills
from chalicelib.proxycache.transfer import PIECE
from chalicelib.registry import deletion, push, uploads
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store.uploads import Session
from chalicelib.storage import workflows
from chalicelib.storage.conditions import now
from chalicelib.upstreams import endpoints
from chalicelib.upstreams.endpoints import Changes
from tests.conftest import ADMIN
from tests.proxycache.filled import Proxy, content_of, expire_lease, let_be_tried_again
from tests.registry.accounting import assert_exact, assert_summed, charged
from tests.registry.images import descriptor, image, push_blob
from tests.upstreams.servers import faults
from tests.upstreams.servers.contents import digest_of
from tests.upstreams.servers.faults import Fault, Reply, Request
from tests.upstreams.servers.scripted import scripted

MIB = 1 << 20
DONE = {"digests": [], "wait": 0, "done": True}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "_PAUSE", 0.01)


def test_a_large_blob_comes_by_ranges_each_byte_once(proxy: Proxy) -> None:
    content = os.urandom(9 * PIECE + 12345)
    digest = proxy.upstream.put_blob(content)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content
    asked = proxy.upstream.asked("GET", f"*{digest}")
    assert [each.status for each in asked] == [206] * 10
    assert proxy.upstream.sent(f"*{digest}") == len(content)
    assert proxy.upstream.count("HEAD") == 0
    assert proxy.lease(digest) is None


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 8 * PIECE, 8 * PIECE + 1, 10 * PIECE])
def test_blobs_of_any_size(proxy: Proxy, size: int) -> None:
    content = os.urandom(size)
    digest = proxy.upstream.put_blob(content)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content


def test_a_digest_of_another_algorithm(proxy: Proxy) -> None:
    content = os.urandom(9 * PIECE + 7)
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
@pytest.mark.parametrize("size", [MIB, 9 * PIECE + 5], ids=["small", "large"])
def test_what_goes_wrong_for_a_moment_costs_only_what_was_lost(proxy: Proxy, fault: str, size: int) -> None:
    content = os.urandom(size)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", *_PASSING[fault])
    assert proxy.step([digest]) == DONE
    assert proxy.error(digest) is None
    assert content_of(proxy.repository, digest) == content


def test_an_upstream_without_ranges_is_read_once(proxy: Proxy) -> None:
    content = os.urandom(9 * PIECE + 5)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", faults.ignores_ranges(), always=True)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content
    assert [each.status for each in proxy.upstream.asked("GET", f"*{digest}")] == [200]


@pytest.mark.parametrize("size", [MIB, 9 * PIECE + 5], ids=["small", "large"])
@pytest.mark.parametrize("told", [False, True], ids=["in chunks", "with a length"])
def test_an_upstream_without_ranges_that_breaks_off_is_read_again(proxy: Proxy, size: int, told: bool) -> None:
    content = os.urandom(size)
    digest = proxy.upstream.put_blob(content)
    kind = faults.ignores_ranges() if told else faults.together(faults.ignores_ranges(), faults.chunked())
    proxy.upstream.script(f"*{digest}", faults.together(kind, faults.cut(size // 2)), faults.refuse(503))
    proxy.upstream.script(f"*{digest}", kind, always=True)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content


@pytest.mark.parametrize("size", [MIB, 9 * PIECE + 5], ids=["small", "large"])
def test_an_upstream_that_does_not_say_of_how_much_it_sends_a_part_is_asked_for_all(proxy: Proxy, size: int) -> None:
    content = os.urandom(size)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", faults.says_range(f"bytes 0-{min(size, PIECE) - 1}/*"))
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content
    assert proxy.upstream.count("GET", f"*{digest}") == 2


def test_a_blob_on_another_host_is_fetched_there(proxy: Proxy) -> None:
    content = os.urandom(9 * PIECE + 5)
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
@pytest.mark.parametrize("size", [MIB, 9 * PIECE + 5], ids=["small", "large"])
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


def test_what_broke_off_goes_on_where_it_stood(proxy: Proxy) -> None:
    content = os.urandom(12 * PIECE + 5)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", *[faults.well()] * 10)
    proxy.upstream.script(f"*{digest}", faults.refuse(502), always=True)
    assert proxy.step([digest], connections=2) == DONE
    assert isinstance(proxy.error(digest), UpstreamFailed)
    assert content_of(proxy.repository, digest) is None
    session = proxy.session(digest)
    assert session is not None
    assert session.offset >= 9 * PIECE - 2 * PIECE
    proxy.upstream.heal()
    proxy.upstream.forget()
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content
    assert proxy.upstream.sent(f"*{digest}") == len(content) - session.offset


def test_a_prefix_that_was_wrong_is_not_gone_on_with_for_ever(proxy: Proxy) -> None:
    content = os.urandom(12 * PIECE + 5)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", faults.wrong_bytes(), *[faults.well()] * 8)
    proxy.upstream.script(f"*{digest}", faults.refuse(502), always=True)
    assert proxy.step([digest], connections=2) == DONE
    assert proxy.session(digest) is not None
    proxy.upstream.heal()
    assert proxy.step([digest]) == DONE
    error = proxy.error(digest)
    assert isinstance(error, UpstreamFailed)
    assert "other bytes" in error.message
    assert content_of(proxy.repository, digest) is None
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content


@pytest.mark.parametrize("fault", [faults.well(), faults.ignores_ranges()], ids=["ranges", "a stream"])
@pytest.mark.parametrize("size", [12 * PIECE + 5, 7 * PIECE], ids=["parts", "one object"])
def test_a_step_whose_time_is_over_leaves_the_rest_to_the_next(
    proxy: Proxy, fault: Fault, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(size)
    digest, other = proxy.upstream.put_blob(content), proxy.upstream.put_blob(b"other")
    proxy.upstream.script(f"*{digest}", faults.together(fault, faults.drip(30e6)), always=True)
    execution = proxy.ask(digest, other)
    with monkeypatch.context() as brief:
        brief.setattr(steps, "SLICE_SECONDS", 1.5)
        left = proxy.step([digest, other], execution, connections=1)
    assert left == {"digests": [digest, other], "wait": 0, "done": False}
    assert content_of(proxy.repository, digest) is None
    session = proxy.session(digest)
    assert session is not None
    assert 0 < session.offset < len(content)
    proxy.upstream.heal()
    proxy.upstream.forget()
    assert proxy.step([digest, other], execution) == DONE
    assert content_of(proxy.repository, digest) == content
    assert content_of(proxy.repository, other) == b"other"
    assert proxy.upstream.sent(f"*{digest}") == len(content) - session.offset


@pytest.mark.parametrize("size", [13 * PIECE, 3 * PIECE + 7], ids=["parts", "one object"])
def test_a_slow_blob_comes_on_in_every_slice_and_hardly_anything_twice(
    proxy: Proxy, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twelve connections none would end a piece within a slice."""
    content = os.urandom(size)
    digest = proxy.upstream.put_blob(content)
    rules.update(rules.get(proxy.project), public=False, metadata={"proxy_speed_kb": str(size // 128 // 7)})
    monkeypatch.setattr(steps, "SLICE_SECONDS", 3.0)
    monkeypatch.setattr(filler, "_FAIR_SECONDS", 1.5)
    execution = proxy.ask(digest)
    slices = 1
    while proxy.step([digest], execution, connections=12) != DONE:
        slices += 1
        assert slices < 8
    assert slices > 1
    assert proxy.error(digest) is None
    assert content_of(proxy.repository, digest) == content
    assert proxy.upstream.sent(f"*{digest}") < size + slices * PIECE, "beyond the blob, what was under way"


def test_of_a_dripping_upstream_all_is_kept_that_came_without_a_gap(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(9 * PIECE)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", faults.drip(2e6), always=True)
    execution = proxy.ask(digest)
    with monkeypatch.context() as brief:
        brief.setattr(steps, "SLICE_SECONDS", 1.0)
        brief.setattr(filler, "_FAIR_SECONDS", 0.5)
        offsets = [0]
        for _ in range(4):
            assert proxy.step([digest], execution)["digests"] == [digest]
            session = proxy.session(digest)
            assert session is not None
            offsets.append(session.offset)
    assert all(after - before > MIB for before, after in itertools.pairwise(offsets))
    proxy.upstream.heal()
    proxy.upstream.forget()
    assert proxy.step([digest], execution) == DONE
    assert content_of(proxy.repository, digest) == content
    assert proxy.upstream.sent(f"*{digest}") == len(content) - offsets[-1]


def test_what_comes_too_slowly_to_be_kept_without_ranges_is_given_up(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slice reads from the first byte, and comes as far as the one before."""
    digest = proxy.upstream.put_blob(os.urandom(9 * PIECE))
    proxy.upstream.script(f"*{digest}", faults.together(faults.ignores_ranges(), faults.drip(10e6)), always=True)
    monkeypatch.setattr(steps, "SLICE_SECONDS", 1.5)
    monkeypatch.setattr(filler, "_FAIR_SECONDS", 0.7)
    execution = proxy.ask(digest)
    slices = 1
    while proxy.step([digest], execution) != DONE:
        slices += 1
        assert slices < 5
    assert slices > 1, "the first one has come on"
    error = proxy.error(digest)
    assert isinstance(error, UpstreamFailed)
    assert "too slow, or knows no ranges" in error.message


def test_what_has_little_time_left_is_no_failure(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = proxy.upstream.put_blob(os.urandom(PIECE))
    proxy.upstream.script(f"*{digest}", faults.drip(1e6), always=True)
    monkeypatch.setattr(steps, "SLICE_SECONDS", 0.5)
    assert proxy.step([digest]) == {"digests": [digest], "wait": 0, "done": False}
    assert proxy.error(digest) is None


def test_who_has_come_to_the_deadline_beats_no_faster(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = proxy.wanted(proxy.upstream.put_blob(b"any"))
    beats: list[float] = []
    extend = fills.extend

    def counted(lease: fills.Lease, until: int) -> bool:
        beats.append(time.monotonic())
        return extend(lease, until)

    monkeypatch.setattr(fills, "extend", counted)
    with leases.held(wanted, "execution", time.monotonic() + 0.2) as hold:
        assert hold is not None
        assert hold.halt.wait(5)
        time.sleep(1)
    assert len(beats) <= 2


def test_of_two_who_fetch_at_once_one_does(proxy: Proxy) -> None:
    content = os.urandom(3 * PIECE)
    digest = proxy.upstream.put_blob(content)
    execution = proxy.ask(digest)
    proxy.upstream.script(f"*{digest}", faults.late(1.0))
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: proxy.step([digest], execution), range(4)))
    assert results.count(DONE) == 1
    assert results.count({"digests": [digest], "wait": 2, "done": False}) == 3
    assert proxy.step([digest], execution) == DONE
    assert content_of(proxy.repository, digest) == content
    assert proxy.upstream.sent(f"*{digest}") == len(content)


def test_another_repository_waits_for_the_same_blob_and_is_linked_if_upstream_has_it_there(proxy: Proxy) -> None:
    content = os.urandom(3 * PIECE)
    digest = proxy.upstream.put_blob(content)
    other = f"{proxy.project}/team/other"
    assert proxy.step([digest]) == DONE
    proxy.upstream.forget()
    assert proxy.step([digest], repository=other) == DONE
    assert content_of(other, digest) == content
    assert [each.method for each in proxy.upstream.asked()] == ["GET"]
    assert proxy.upstream.sent(f"*{digest}") == SAMPLE
    denied = f"{proxy.project}/team/denied"
    proxy.upstream.script("/v2/team/denied/*", faults.refuse(404), always=True)
    assert proxy.step([digest], repository=denied) == DONE
    assert content_of(denied, digest) is None


def test_a_blob_of_this_registry_is_only_served_when_upstream_has_it_too(proxy: Proxy, repository: str) -> None:
    content = b"what somebody pushed"
    digest = push_blob(repository, content)["digest"]
    assert proxy.step([digest]) == DONE
    assert isinstance(proxy.error(digest), BlobUnknown)
    assert content_of(proxy.repository, digest) is None
    proxy.upstream.put_blob(content)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content


_PASSING_LINK: dict[str, list[Fault]] = {
    "refused for a moment": [faults.refuse(503)],
    "limited for a moment": [faults.too_many("1")],
    "hung up": [faults.hang_up(), faults.hang_up()],
    "cut in the middle": [faults.cut(1000), faults.cut(100_000)],
}


@pytest.mark.parametrize("fault", _PASSING_LINK)
@pytest.mark.parametrize("kind", [faults.well(), faults.ignores_ranges()], ids=["ranges", "a stream"])
@pytest.mark.parametrize("size", [0, 1024, 3 * SAMPLE])
def test_what_goes_wrong_for_a_moment_keeps_no_repository_from_being_linked(
    proxy: Proxy, repository: str, fault: str, kind: Fault, size: int
) -> None:
    content = os.urandom(size)
    digest = push_blob(repository, content)["digest"]
    proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", *(faults.together(kind, each) for each in _PASSING_LINK[fault]))
    proxy.upstream.script(f"*{digest}", kind, always=True)
    assert proxy.step([digest]) == DONE
    assert proxy.error(digest) is None
    assert content_of(proxy.repository, digest) == content


def test_a_size_that_no_answer_with_bytes_tells_is_asked_for(proxy: Proxy, repository: str) -> None:
    content = os.urandom(1024)
    digest = push_blob(repository, content)["digest"]
    proxy.upstream.put_blob(content)
    whole = faults.together(faults.ignores_ranges(), faults.chunked())
    proxy.upstream.script(f"*{digest}", faults.says_range("bytes 0-1023/*"), whole, faults.refuse(503))
    assert proxy.step([digest]) == DONE
    assert [each.method for each in proxy.upstream.asked(path=f"*{digest}")] == ["GET", "GET", "HEAD", "HEAD"]
    assert content_of(proxy.repository, digest) == content


def test_a_blob_of_another_size_is_not_linked(proxy: Proxy, repository: str) -> None:
    content = os.urandom(3 * SAMPLE)
    digest = push_blob(repository, content)["digest"]
    proxy.upstream.blobs[digest] = content + b"more"
    assert proxy.step([digest]) == DONE
    assert "is of another size" in str(proxy.error(digest))
    assert content_of(proxy.repository, digest) is None


def test_a_sample_for_which_too_much_has_to_be_read_is_given_up_at_the_deadline(
    proxy: Proxy, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(PIECE)
    digest = push_blob(repository, content)["digest"]
    proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", faults.together(faults.ignores_ranges(), faults.drip(1e6)), always=True)
    monkeypatch.setattr(secrets, "randbelow", lambda most: most - 1)
    monkeypatch.setattr(steps, "SLICE_SECONDS", 1.0)
    began = time.monotonic()
    assert proxy.step([digest]) == {"digests": [digest], "wait": 0, "done": False}
    assert time.monotonic() - began < 7  # all of it comes in 8
    monkeypatch.setattr(filler, "_FAIR_SECONDS", 0.5)
    let_be_tried_again(proxy.wanted(digest))
    assert proxy.step([digest]) == DONE
    assert "too slow" in str(proxy.error(digest))
    assert content_of(proxy.repository, digest) is None


@pytest.mark.parametrize("fault", [faults.well(), faults.ignores_ranges()], ids=["ranges", "a stream"])
def test_a_blob_of_this_registry_is_not_given_to_who_only_knows_its_digest(
    proxy: Proxy, repository: str, fault: Fault
) -> None:
    content = os.urandom(3 * SAMPLE)
    digest = push_blob(repository, content)["digest"]
    proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", faults.together(fault, faults.pretends()), always=True)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) is None
    assert "a part that it was asked for differs" in str(proxy.error(digest))
    proxy.upstream.heal()
    proxy.upstream.script(f"*{digest}", fault, always=True)
    let_be_tried_again(proxy.wanted(digest))
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content


def test_a_holder_that_wakes_up_after_its_lease_was_taken_does_no_harm(proxy: Proxy) -> None:
    """It sleeps in the middle of the blob, with a part recorded; meanwhile another takes over and ends it."""
    content = os.urandom(12 * PIECE + 5)
    digest = proxy.upstream.put_blob(content)
    awake = threading.Event()

    def asleep(_request: Request, reply: Reply) -> Reply:
        awake.wait(30)
        return reply

    proxy.upstream.script(f"*{digest}", *[faults.well()] * 6, asleep)
    with ThreadPoolExecutor(1) as threads:
        sleeper = threads.submit(proxy.step, [digest], connections=1)
        while proxy.upstream.count("GET", f"*{digest}") < 6:
            time.sleep(0.01)
        expire_lease(proxy.registry, digest)
        assert proxy.step([digest]) == DONE
        blob, _ = blob_table.read(proxy.repository, digest)
        awake.set()
        assert sleeper.result()["digests"] == [digest]
    assert blob_table.read(proxy.repository, digest)[0] == blob
    assert content_of(proxy.repository, digest) == content
    assert proxy.lease(digest) is None


def test_one_who_lost_its_lease_at_the_end_leaves_the_publishing_to_the_next(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(9 * PIECE)
    digest = proxy.upstream.put_blob(content)
    assemble = uploads.assemble

    def assemble_slowly(session: Session) -> None:
        assemble(session)
        expire_lease(proxy.registry, digest)
        assert fills.acquire(proxy.registry, digest, "another", now() + 60_000) is not None

    with monkeypatch.context() as slow:
        slow.setattr(uploads, "assemble", assemble_slowly)
        for waited, wait in ((0, 2), (2, 4), (8, 10), (10, 10)):
            assert proxy.step([digest], waited=waited) == {"digests": [digest], "wait": wait, "done": False}
    assert content_of(proxy.repository, digest) is None
    expire_lease(proxy.registry, digest)
    proxy.upstream.forget()
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content
    assert proxy.upstream.count() == 0, "all of it was there"


def test_a_project_is_charged_for_what_its_manifests_name_once_it_is_there(proxy: Proxy) -> None:
    content, other = os.urandom(9 * PIECE), b"named by nobody"
    digest, lone = proxy.upstream.put_blob(content), proxy.upstream.put_blob(other)
    manifest = image(descriptor(content))
    named = push.manifest(proxy.repository, "v1", manifest, manifests.OCI_MANIFEST).digest
    assert charged(proxy.project) == {named: len(manifest)}
    assert proxy.step([digest, lone]) == DONE
    assert charged(proxy.project) == {named: len(manifest), digest: len(content)}
    assert_exact(proxy.project)
    deletion.manifest(proxy.repository, named)
    assert charged(proxy.project) == {}


@pytest.mark.parametrize("size", [MIB, 9 * PIECE], ids=["small", "large"])
def test_nothing_is_kept_of_what_the_project_has_no_room_for(proxy: Proxy, size: int) -> None:
    content = os.urandom(size)
    digest = proxy.upstream.put_blob(content)
    push.manifest(proxy.repository, "v1", image(descriptor(content)), manifests.OCI_MANIFEST)
    quotas.set_limit(rules.get(proxy.project).project_id, size // 2)
    assert proxy.step([digest]) == DONE
    error = proxy.error(digest)
    assert isinstance(error, QuotaExceeded)
    assert error.status == 403
    assert proxy.upstream.count("GET", f"*{digest}") == 1, "what does not fit is not fetched"
    assert blob_table.read_record(digest) is None
    assert proxy.session(digest) is None
    assert_summed(proxy.project)
    quotas.set_limit(rules.get(proxy.project).project_id, size * 2)
    assert proxy.step([digest]) == DONE
    assert content_of(proxy.repository, digest) == content
    assert_exact(proxy.project)


def test_nothing_is_filled_into_a_project_that_came_after_the_one_that_wanted_it(proxy: Proxy) -> None:
    digest = proxy.upstream.put_blob(os.urandom(1000))
    execution = proxy.ask(digest)
    delete_project(rules.get(proxy.project))
    other = endpoints.create("docker-registry", Changes(name=f"{proxy.project}-other", url=proxy.upstream.url))
    for registry_id in (0, other.number):
        rules.create(proxy.project, ADMIN, public=False, registry_id=registry_id)
        assert proxy.step([digest], execution) == DONE
        assert proxy.error(digest) is not None
        assert content_of(proxy.repository, digest) is None
        delete_project(rules.get(proxy.project))
    assert proxy.upstream.count("GET", "*/blobs/*") == 0


def test_the_projects_bandwidth_is_kept_to_by_all_connections_together(proxy: Proxy) -> None:
    content = os.urandom(9 * PIECE)
    digest = proxy.upstream.put_blob(content)
    rules.update(rules.get(proxy.project), public=False, metadata={"proxy_speed_kb": str(len(content) // 128 // 3)})
    began = time.monotonic()
    assert proxy.step([digest]) == DONE
    assert time.monotonic() - began > 2.5
    assert content_of(proxy.repository, digest) == content


def test_the_projects_bandwidth_is_shared_by_all_its_fills(proxy: Proxy) -> None:
    contents = [os.urandom(MIB) for _ in range(4)]
    digests = [proxy.upstream.put_blob(content) for content in contents]
    rules.update(rules.get(proxy.project), public=False, metadata={"proxy_speed_kb": str(4 * MIB // 128 // 3)})
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda digest: proxy.step([digest]), digests)) == [DONE] * 4
    assert time.monotonic() - began > 2.5
    assert [content_of(proxy.repository, digest) for digest in digests] == contents


@pytest.mark.parametrize(
    ("limit", "digests_count", "lanes", "connections"),
    [("-1", 1, 1, 12), ("-1", 3, 3, 8), ("-1", 40, 6, 4), ("1", 40, 1, 1), ("4", 40, 4, 1), ("100", 40, 6, 12)],
)
def test_an_artifact_takes_no_more_connections_than_its_project_may(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, limit: str, digests_count: int, lanes: int, connections: int
) -> None:
    rules.update(rules.get(proxy.project), public=False, metadata={"max_upstream_conn": limit})
    started: list[Mapping[str, Any]] = []
    monkeypatch.setattr(workflows, "start", lambda _machine, _name, state: started.append(state))
    digests = [digest_of(os.urandom(8)) for _ in range(digests_count)]
    filling.ensure(proxy.repository, digests, proxy.registry)
    [state] = started
    assert (len(state["lanes"]), state["connections"]) == (lanes, connections)
    assert sorted(digest for lane in state["lanes"] for digest in lane) == sorted(digests)
    filling.ensure(proxy.repository, digests, proxy.registry)
    assert len(started) == 1


def test_a_manifest_of_many_blobs_fits_the_input_of_its_executions(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Mapping[str, Any]] = []
    monkeypatch.setattr(workflows, "start", lambda _machine, _name, state: started.append(state))
    wanted = [digests.of(str(number).encode(), "sha512") for number in range(manifests.REFERENCE_LIMIT)]
    filling.ensure(proxy.repository, wanted, proxy.registry)
    assert sorted(each for state in started for lane in state["lanes"] for each in lane) == sorted(wanted)
    assert max(len(json.dumps(state)) for state in started) < 256 * 1024
    filling.ensure(proxy.repository, wanted, proxy.registry)
    assert len(started) == 2


@pytest.mark.parametrize("size", [MIB, 9 * PIECE], ids=["small", "large"])
def test_an_upstream_that_sends_next_to_nothing_is_given_up(
    proxy: Proxy, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = proxy.upstream.put_blob(os.urandom(size))
    proxy.upstream.script(f"*{digest}", faults.drip(2000), always=True)
    monkeypatch.setattr(reception, "_STALL_SECONDS", 0.3)
    began = time.monotonic()
    assert proxy.step([digest]) == DONE
    assert isinstance(proxy.error(digest), UpstreamFailed)
    assert time.monotonic() - began < 20


def test_a_limit_in_the_middle_is_told_with_its_time_and_what_came_is_kept(proxy: Proxy) -> None:
    content = os.urandom(12 * PIECE)
    digest = proxy.upstream.put_blob(content)
    proxy.upstream.script(f"*{digest}", *[faults.well()] * 8)
    proxy.upstream.script(f"*{digest}", faults.too_many("120"), always=True)
    assert proxy.step([digest], connections=2) == DONE
    error = proxy.error(digest)
    assert isinstance(error, TooManyRequests)
    assert 100 < int(error.headers["Retry-After"]) <= 120
    session = proxy.session(digest)
    assert session is not None
    assert session.offset > 0
