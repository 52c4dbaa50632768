"""Uploads that are written to by two at once, or whose writer dies: never mixed, never half visible, resumable."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.oci import digests
from chalicelib.oci.errors import BlobUploadUnknown
from chalicelib.registry import uploads
from chalicelib.registry.store.uploads import Session
from chalicelib.registry.upload_writer import OutOfOrderError, Writer
from chalicelib.storage import blobstore
from tests.registry.test_faults import Killed, killed_at
from tests.v2.upload_paths import FunctionPath, random_content, start, stored

pytestmark = pytest.mark.usefixtures("cloud")

MIB = 1 << 20
_CHUNKS = (6 * MIB, MIB, MIB)


def _push(location: str, content: bytes, digest: str, offset: int = 0) -> None:
    """Send what follows on `offset` as chunks, the last one with the PUT."""
    path = FunctionPath()
    ends = [sum(_CHUNKS[: count + 1]) for count in range(len(_CHUNKS))]
    for end in (end for end in ends[:-1] if end > offset):
        response = path.send("PATCH", location, content[offset:end], {"content-range": f"{offset}-{end - 1}"})
        assert response.status == 202, response.body
        location, offset = response.headers["Location"], end
    response = path.send("PUT", location, content[offset:], digest=digest)
    assert response.status == 201, response.body


def _go_on(location: str, content: bytes, digest: str) -> None:
    """What a client does after a failure: end it again, go on from the status, or start anew."""
    path = FunctionPath()
    status = path.send("GET", location)
    if status.status == 204:
        came = int(status.headers["Range"].partition("-")[2]) + 1
        _push(location, content, digest, came if came > 1 else 0)
    elif path.send("PUT", location, digest=digest).status != 201:
        _push(start(path, "/".join(location.split("/")[2:4])), content, digest)


@pytest.mark.parametrize("moment", ["before-call", "after-call"])
def test_killed_between_any_two_writes(repository: str, moment: str) -> None:
    number, died = 0, True
    while died:
        content, digest = random_content(sum(_CHUNKS))
        location = start(FunctionPath(), repository)
        with killed_at(number, moment) as seen:
            try:
                _push(location, content, digest)
                died = False
            except Killed:
                pass
        assert stored(repository, digest) in ((None, content) if died else (content,)), seen
        _go_on(location, content, digest)
        assert stored(repository, digest) == content, seen
        number += 1
    assert {"CreateMultipartUpload", "UploadPart", "PutObject", "CompleteMultipartUpload"} <= set(seen)


def test_of_many_chunks_at_once_one_is_taken(repository: str) -> None:
    path = FunctionPath()
    location = start(path, repository)
    contents = [random_content(6 * MIB + extra)[0] for extra in range(6)]
    barrier = threading.Barrier(len(contents))

    def patch(content: bytes) -> int:
        barrier.wait()
        return path.send("PATCH", location, content, {"content-range": f"0-{len(content) - 1}"}).status

    with ThreadPoolExecutor(len(contents)) as threads:
        statuses = list(threads.map(patch, contents))
    assert sorted(statuses) == [202] + [416] * (len(contents) - 1)
    taken = contents[statuses.index(202)]
    digest = digests.of(taken)
    assert path.send("PUT", location, digest=digest).status == 201
    assert stored(repository, digest) == taken


def test_one_digest_ended_by_many_at_once(repository: str) -> None:
    """Each with an upload of its own, and each upload ended twice."""
    path = FunctionPath()
    content, digest = random_content(6 * MIB)
    locations = [start(path, repository) for _ in range(3)] * 2
    with ThreadPoolExecutor(len(locations)) as threads:
        statuses = list(threads.map(lambda place: path.send("PUT", place, content, digest=digest).status, locations))
    assert statuses == [201] * len(locations)
    assert stored(repository, digest) == content


def test_an_attempt_that_was_overtaken_cannot_touch_recorded_parts(repository: str) -> None:
    session = uploads.start(repository)
    slow, fast = Writer(session), None
    mine, other = bytes(6 * MIB), b"\x01" * (6 * MIB)
    slow.send(0, mine)
    fast = Writer(uploads.find(repository, session.id))
    recorded = _append_part(fast, other)
    slow.send(1, mine)
    with pytest.raises(OutOfOrderError) as caught:
        slow.append(2, b"")
    assert caught.value.session == recorded
    digest = digests.of(other)
    Writer(recorded).complete(0, None, digest)
    assert stored(repository, digest) == other


def _append_part(writer: Writer, content: bytes) -> Session:
    writer.send(0, content)
    return writer.append(1, b"")


def test_a_tail_of_the_loser_is_dropped(repository: str) -> None:
    session = uploads.start(repository)
    first, second = Writer(session), Writer(session)
    kept = first.append(0, b"first")
    with pytest.raises(OutOfOrderError):
        second.append(0, b"second")
    assert blobstore.get(kept.tail_key) == b"first"


def test_cancelled_while_it_is_written_to(repository: str) -> None:
    session = uploads.start(repository)
    writer = Writer(session)
    writer.send(0, bytes(6 * MIB))
    uploads.cancel(session)
    with pytest.raises(BlobUploadUnknown):
        writer.send(1, bytes(6 * MIB))
    with pytest.raises(BlobUploadUnknown):
        Writer(session).append(0, b"rest")


def test_what_the_store_has_dropped_is_unknown(repository: str) -> None:
    """S3 aborts stale multipart uploads by a lifecycle rule."""
    recorded = _append_part(Writer(uploads.start(repository)), bytes(6 * MIB))
    blobstore.abort_multipart(recorded.object_key, recorded.multipart)
    with pytest.raises(BlobUploadUnknown):
        Writer(recorded).complete(0, None, digests.of(bytes(6 * MIB)))
