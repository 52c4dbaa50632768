"""Sessions whose time is over: forgotten, with what they stored that became no blob."""

from __future__ import annotations

import pytest

from chalicelib.registry import uploads
from chalicelib.registry.store import uploads as table
from chalicelib.registry.upload_writer import Writer
from chalicelib.storage import blobstore
from tests.v2.upload_paths import FunctionPath, random_content, start, stored

pytestmark = pytest.mark.usefixtures("cloud")

MIB = 1 << 20


@pytest.fixture
def a_day_later(monkeypatch: pytest.MonkeyPatch) -> None:
    later = table.now() + 86_400_000 + 1000
    monkeypatch.setattr(table, "now", lambda: later)


def _object_of(upload_id: str) -> str:
    session = table.read(upload_id)
    assert session is not None
    return session.object_key


def test_an_upload_that_goes_on_is_left_alone(repository: str) -> None:
    session = Writer(uploads.start(repository)).append(0, b"abc")
    uploads.sweep()
    assert table.read(session.id) == session
    assert blobstore.get(session.tail_key) == b"abc"


def test_what_an_abandoned_upload_stored_is_dropped(repository: str, request: pytest.FixtureRequest) -> None:
    small = Writer(uploads.start(repository)).append(0, b"abc")
    large = Writer(uploads.start(repository))
    large.send(0, bytes(6 * MIB))
    tailed = large.append(1, b"tail")
    request.getfixturevalue("a_day_later")
    assert uploads.sweep() >= 2
    assert blobstore.get(small.tail_key) is None
    assert blobstore.get(tailed.tail_key) is None
    with pytest.raises(blobstore.MultipartGoneError):
        blobstore.put_part(tailed.object_key, tailed.multipart, 9, b"x")
    assert uploads.sweep() == 0


@pytest.mark.parametrize("size", [10, 7 * MIB])
def test_a_blob_stays_when_its_session_goes(repository: str, request: pytest.FixtureRequest, size: int) -> None:
    content, digest = random_content(size)
    path = FunctionPath()
    location = start(path, repository)
    for half in (content[: size - 5], content[size - 5 :]):
        location = path.send("PATCH", location, half).headers["Location"]
    assert path.send("PUT", location, digest=digest).status == 201
    request.getfixturevalue("a_day_later")
    uploads.sweep()
    assert stored(repository, digest) == content


def test_an_object_that_was_completed_and_never_published_is_dropped(
    repository: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = uploads.start(repository)
    content, digest = random_content(100)
    writer = Writer(session)

    def die(_session: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(uploads, "finish_session", die)
        with pytest.raises(KeyboardInterrupt):
            writer.complete(0, content, digest)
    key = _object_of(session.id)
    assert blobstore.exists(key)
    request.getfixturevalue("a_day_later")
    uploads.sweep()
    assert not blobstore.exists(key)
