"""The reconciliation beside uploads: what they publish meanwhile stays, what crashes have left goes."""

from __future__ import annotations

import os

import pytest

from chalicelib.gc import reconciliation, work
from chalicelib.gc.records import Tally, unwatched
from chalicelib.oci import digests
from chalicelib.registry import uploads
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store.uploads import Session
from chalicelib.registry.upload_writer import Writer
from chalicelib.storage import blobstore
from tests.gc.conftest import HOUR, TIMES, Clock

pytestmark = pytest.mark.usefixtures("cloud")

MIB = 1 << 20


def tables(run: str) -> None:
    for segment in reconciliation.SEGMENTS:
        reconciliation.tables(run, segment, TIMES, unwatched)
    assert reconciliation.noted(run)


def objects(run: str) -> Tally:
    return sum((reconciliation.objects(run, shard, TIMES, unwatched) for shard in reconciliation.SHARDS), Tally())


def long_upload(repository: str, content: bytes, clock: Clock) -> Session:
    """A session that has taken nearly all of its day."""
    session = Writer(uploads.start(repository)).append(0, content)
    for _ in range(2):
        clock.advance(11 * HOUR)
        writer = Writer(uploads.find(repository, session.id))
        session = writer.append(0, writer.head() + b"more")
    return session


@pytest.mark.parametrize("size", [100, 12 * MIB])  # an object of its own, and one of parts
def test_a_long_upload_that_is_published_behind_the_look_at_its_table_keeps_its_object(
    repository: str, clock: Clock, size: int
) -> None:
    content = os.urandom(size)
    session = long_upload(repository, content, clock)
    tables("long")
    digest = digests.of(content + b"moremore")
    Writer(session).complete(0, None, digest)
    objects("long")
    blob = blob_table.read_record(digest)
    assert blob is not None
    assert blobstore.exists(blob.object_key)
    work.drop("long")


def test_an_upload_that_begins_behind_the_look_at_the_sessions_keeps_its_object(repository: str, past: Clock) -> None:
    """However late the bucket is listed."""
    tables("late")
    session = Writer(uploads.start(repository)).append(0, content := os.urandom(12 * MIB))
    past.advance(20 * HOUR)
    Writer(session).complete(0, None, digest := digests.of(content))
    past.advance(20 * HOUR)
    objects("late")
    blob = blob_table.read_record(digest)
    assert blob is not None
    assert blobstore.exists(blob.object_key)
    work.drop("late")


def test_an_object_that_nothing_names_goes_unless_the_run_is_over(clock: Clock) -> None:
    blobstore.put(key := blobstore.blob_key(), b"stray")
    clock.advance(40 * HOUR)
    tables("stray")
    work.drop("stray")
    assert objects("stray") == Tally()
    assert blobstore.exists(key)
    tables("stray")
    assert objects("stray").purged_objects >= 1
    assert not blobstore.exists(key)
    work.drop("stray")
