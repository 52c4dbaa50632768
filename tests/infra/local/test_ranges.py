"""Ranges of objects on a laptop, as S3 answers them."""

from __future__ import annotations

import os
import urllib.request

import pytest

from chalicelib.storage import blobstore


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [("bytes=0-4", 206, slice(0, 5)), ("bytes=-5", 206, slice(-5, None)), ("bytes=0-4,10-14", 200, slice(None))],
)
def test_several_ranges_are_answered_with_the_whole(
    cloud: dict[str, str], asked: str, status: int, expected: slice
) -> None:
    content, key = os.urandom(100), f"blobs/{os.urandom(16).hex()}"
    blobstore.put(key, content)
    request = urllib.request.Request(blobstore.presign("GET", key, "localhost"), headers={"Range": asked})
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.read()) == (status, content[expected])
