"""Many objects at once, on a real S3 API; what S3 answers for single ones of them comes from a server in between."""

from __future__ import annotations

import pytest

from chalicelib.oci.errors import Unavailable
from chalicelib.storage import blobstore, bulk, s3
from chalicelib.storage.aws_json import RefusedError
from tests.storage.test_blobstore import failing_first

pytestmark = pytest.mark.usefixtures("cloud")


@pytest.fixture
def keys() -> list[str]:
    made = [blobstore.blob_key() for _ in range(2)]
    for key in made:
        blobstore.put(key, b"content")
    return made


def failed(**codes: str) -> str:
    """S3's answer to a quiet DeleteObjects: status 200, and an error for each that it did not delete."""
    errors = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key, code in codes.items())
    return f'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{errors}</DeleteResult>'


def test_objects_are_deleted_and_those_that_are_gone_are_no_error(keys: list[str]) -> None:
    for _ in range(2):
        bulk.delete([*keys, blobstore.blob_key()])
    assert not any(blobstore.exists(key) for key in keys)


@pytest.mark.parametrize("code", ["InternalError", "SlowDown"])
def test_objects_that_a_busy_store_has_not_deleted_are_asked_for_again(keys: list[str], code: str) -> None:
    with failing_first(2, 200, "", failed(**{keys[1]: code})) as requests:
        bulk.delete(keys)
    assert len(requests) == 3
    assert [blobstore.exists(key) for key in keys] == [True, False]  # the server has said that the first one was


def test_objects_that_a_store_keeps_failing_to_delete_make_it_unavailable(
    keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RETRY_SECONDS", 0.2)
    answer = failed(**dict.fromkeys(keys, "SlowDown"))
    with failing_first(1000, 200, "", answer) as requests, pytest.raises(Unavailable, match="2 objects: SlowDown"):
        bulk.delete(keys)
    assert 1 < len(requests) <= 6


def test_an_object_that_must_not_be_deleted_is_a_refusal(keys: list[str]) -> None:
    answer = failed(**{keys[0]: "SlowDown", keys[1]: "AccessDenied"})
    with failing_first(1000, 200, "", answer) as requests, pytest.raises(RefusedError, match="AccessDenied"):
        bulk.delete(keys)
    assert len(requests) == 1
