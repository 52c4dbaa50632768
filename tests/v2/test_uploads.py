"""Pushing blobs as the OCI distribution-spec tells it, through the function and through the relay alike."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from chalicelib import project_deletion
from chalicelib.access import keys
from chalicelib.http import Request, Response, to_response
from chalicelib.oci import digests, names
from chalicelib.oci.errors import RegistryError
from chalicelib.projects import rules
from chalicelib.registry import upload_writer, uploads
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import uploads as table
from chalicelib.settings import settings
from chalicelib.storage import blobstore, conditions
from chalicelib.v2 import uploads as upload_http
from tests.v2.upload_paths import (
    ADMIN,
    FunctionPath,
    Path,
    RelayPath,
    at,
    random_content,
    served_relay,
    start,
    stored,
    upload_of,
)

pytestmark = pytest.mark.usefixtures("cloud")

MIB = 1 << 20
ALGORITHMS = ["sha256", "sha512"]


@pytest.fixture(scope="module")
def relay(cloud: object) -> Iterator[RelayPath]:
    with served_relay() as path:
        yield path


@pytest.fixture(params=["function", "relay"])
def path(request: pytest.FixtureRequest, relay: RelayPath) -> Path:
    return FunctionPath() if request.param == "function" else relay


def code(response: Response) -> str:
    return str(json.loads(response.body)["errors"][0]["code"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 1, 5000])
def test_post_with_a_digest_stores_at_once(repository: str, algorithm: str, size: int) -> None:
    content, _ = random_content(size)
    digest = digests.of(content, algorithm)
    response = FunctionPath().send("POST", f"/v2/{repository}/blobs/uploads/", content, digest=digest)
    assert response.status == 201
    assert response.headers["Location"] == f"/v2/{repository}/blobs/{digest}"
    assert response.headers["Docker-Content-Digest"] == digest
    assert stored(repository, digest) == content


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 1, 3 * MIB])
def test_post_then_put(path: Path, repository: str, algorithm: str, size: int) -> None:
    content, _ = random_content(size)
    digest = digests.of(content, algorithm)
    response = path.send("PUT", start(path, repository), content, digest=digest)
    assert (response.status, response.headers["Docker-Content-Digest"]) == (201, digest)
    assert stored(repository, digest) == content


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("announced", [True, False])
def test_post_patch_put(path: Path, repository: str, algorithm: str, announced: bool) -> None:
    content, _ = random_content(MIB)
    digest = digests.of(content, algorithm)
    location = start(path, repository, **({"digest-algorithm": algorithm} if announced else {}))
    patched = path.send("PATCH", location, content)
    assert (patched.status, patched.headers["Range"]) == (202, f"0-{MIB - 1}")
    assert patched.headers["Docker-Upload-UUID"] == upload_of(location)
    assert path.send("PUT", patched.headers["Location"], digest=digest).status == 201
    assert stored(repository, digest) == content


def test_a_new_upload_says_where_it_is(repository: str) -> None:
    response = FunctionPath().send("POST", f"/v2/{repository}/blobs/uploads/")
    assert (response.status, response.headers["Range"]) == (202, "0-0")
    assert upload_of(response.headers["Location"]) == response.headers["Docker-Upload-UUID"]


def test_chunks_in_order(path: Path, repository: str) -> None:
    """Small ones, one that makes a part with the tail, one that leaves a tail, and a last one with the PUT."""
    content, digest = random_content(13 * MIB + 7)
    location, position = start(path, repository), 0
    for size in (1, 70_000, 4 * MIB, 3 * MIB, 4 * MIB):
        chunk = content[position : position + size]
        headers = {"content-range": f"{position}-{position + size - 1}"}
        response = path.send("PATCH", location, chunk, headers)
        position += size
        assert (response.status, response.headers["Range"]) == (202, f"0-{position - 1}")
        location = response.headers["Location"]
        status = path.send("GET", location)
        assert (status.status, status.headers["Range"]) == (204, f"0-{position - 1}")
    headers = {"content-range": f"{position}-{len(content) - 1}"}
    assert path.send("PUT", location, content[position:], headers, digest=digest).status == 201
    assert stored(repository, digest) == content


def test_a_chunk_out_of_order_is_told_where_to_go_on(path: Path, repository: str) -> None:
    location = start(path, repository)
    for first in (1, 10**17):
        refused = path.send("PATCH", location, b"abc", {"content-range": f"{first}-{first + 2}"})
        assert (refused.status, refused.headers["Range"]) == (416, "0-0")
    path.send("PATCH", location, b"abc", {"content-range": "0-2"})
    for method, query in (("PATCH", {}), ("PUT", {"digest": digests.of(b"abcabc")})):
        refused = path.send(method, location, b"abc", {"content-range": "0-2"}, **query)
        assert (refused.status, code(refused), refused.headers["Range"]) == (416, "BLOB_UPLOAD_INVALID", "0-2")
        assert upload_of(refused.headers["Location"]) == upload_of(location)
    assert path.send("PUT", refused.headers["Location"], digest=digests.of(b"abc")).status == 201


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"content-range": "0-4"}, "SIZE_INVALID"),
        ({"content-range": "2-0"}, "BLOB_UPLOAD_INVALID"),
        ({"content-range": "-1-2"}, "BLOB_UPLOAD_INVALID"),
        ({"content-range": "0-"}, "BLOB_UPLOAD_INVALID"),
        ({"content-range": "0-2\x00"}, "BLOB_UPLOAD_INVALID"),
        ({"content-range": "0-" + "9" * 400}, "BLOB_UPLOAD_INVALID"),
        ({"content-range": "\u0660-\u0662"}, "BLOB_UPLOAD_INVALID"),
        ({"content-length": "4"}, "SIZE_INVALID"),
        ({"content-length": "-3"}, "SIZE_INVALID"),
        ({"content-length": "1e9"}, "SIZE_INVALID"),
    ],
)
def test_lengths_that_contradict_each_other(repository: str, headers: dict[str, str], expected: str) -> None:
    location = start(FunctionPath(), repository)
    refused = FunctionPath().send("PATCH", location, b"abc", headers)
    assert (refused.status, code(refused)) == (400, expected)
    assert FunctionPath().send("GET", location).headers["Range"] == "0-0"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("chunks", [[b"abc"], [b"abc", b"def"], []])
def test_a_wrong_digest_stores_nothing(path: Path, repository: str, algorithm: str, chunks: list[bytes]) -> None:
    location, wrong = start(path, repository), digests.of(repository.encode(), algorithm)
    for chunk in chunks[:-1]:
        location = path.send("PATCH", location, chunk).headers["Location"]
    refused = path.send("PUT", location, chunks[-1] if chunks else b"", digest=wrong)
    assert (refused.status, code(refused)) == (400, "DIGEST_INVALID")
    assert stored(repository, wrong) is None
    assert path.send("GET", location).status == 404


def test_a_wrong_digest_of_parts_stores_nothing(path: Path, repository: str) -> None:
    """Found only after S3 has put the parts together, as sha512 was not hashed on the way."""
    location = start(path, repository)
    for _ in range(3):
        location = path.send("PATCH", location, bytes(3 * MIB)).headers["Location"]
    session = table.read(upload_of(location))
    assert session is not None
    assert session.parts
    refused = path.send("PUT", location, digest=digests.of(b"another", "sha512"))
    assert (refused.status, code(refused)) == (400, "DIGEST_INVALID")
    assert not blobstore.exists(session.object_key)
    assert path.send("GET", location).status == 404


@pytest.mark.parametrize(
    "digest", [None, "", "sha256:zz", "md5:" + "0" * 32, "sha256:" + "A" * 64, "sha256:" + "0" * 65]
)
def test_a_malformed_digest_leaves_the_upload_as_it_was(path: Path, repository: str, digest: str | None) -> None:
    location = path.send("PATCH", start(path, repository), b"abc").headers["Location"]
    refused = path.send("PUT", location, **({} if digest is None else {"digest": digest}))
    assert (refused.status, code(refused)) == (400, "DIGEST_INVALID")
    assert path.send("GET", location).headers["Range"] == "0-2"


def test_ending_an_upload_twice_is_one(path: Path, repository: str) -> None:
    content, digest = random_content(100)
    location = start(path, repository)
    for _ in range(3):
        assert path.send("PUT", location, content, digest=digest).status == 201
    assert path.send("PUT", location, digest=digest).status == 201
    refused = path.send("PUT", location, content, digest=digests.of(b"another"))
    assert (refused.status, code(refused)) == (400, "BLOB_UPLOAD_INVALID")
    for method in ("GET", "PATCH", "DELETE"):
        assert path.send(method, location, b"").status == 404
    assert stored(repository, digest) == content


def test_a_blob_that_was_deleted_is_not_published_again(
    path: Path, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its object may be about to be collected, so the client has to upload it anew."""
    content, digest = random_content(100)
    location = start(path, repository)
    assert path.send("PUT", location, content, digest=digest).status == 201
    later = uploads.now() + 3_600_000
    monkeypatch.setattr(uploads, "now", lambda: later)
    assert path.send("PUT", location, content, digest=digest).status == 201
    link = blob_table.read(repository, digest)[1]
    assert link is not None
    assert blob_table.delete_link(link, link.version)
    assert path.send("PUT", location, content, digest=digest).status == 404


def test_two_uploads_of_one_digest_keep_one_object(path: Path, repository: str) -> None:
    content, digest = random_content(1000)
    for name in (repository, f"{repository}/other"):
        assert path.send("PUT", start(path, name), content, digest=digest).status == 201
    assert stored(repository, digest) == stored(f"{repository}/other", digest) == content


def test_a_cancelled_upload_is_gone(path: Path, repository: str) -> None:
    location = path.send("PATCH", start(path, repository), b"abc").headers["Location"]
    session = table.read(upload_of(location))
    assert session is not None
    assert path.send("DELETE", location).status == 204
    assert not blobstore.exists(session.tail_key)
    for method, query in (("GET", {}), ("PATCH", {}), ("PUT", {"digest": digests.of(b"abc")}), ("DELETE", {})):
        refused = path.send(method, location, b"", **query)
        assert refused.status == 404
        assert not refused.body or method == "HEAD" or code(refused) == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_is_known_in_its_repository_only(path: Path, repository: str) -> None:
    upload_id = uploads.start(repository).id
    for name, upload in ((repository, uuid.uuid4().hex), (f"{repository}/other", upload_id), (repository, "0-0")):
        state = keys.sign({"repository": name, "upload": upload}, "upload", 60)
        refused = path.send("GET", f"/v2/{name}/blobs/uploads/{upload}?_state={state}")
        assert refused.status in (400, 404)
        assert code(refused) in ("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID")


def test_an_upload_ends_with_its_time(path: Path, repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DynamoDB drops expired items days later."""
    location = start(path, repository)
    later = table.now() + 86_400_000 + 1000
    monkeypatch.setattr(table, "now", lambda: later)
    assert path.send("GET", location).status == 404


@pytest.mark.parametrize("state", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "\x00"])
def test_a_forged_address_is_refused(path: Path, repository: str, state: str) -> None:
    place = f"/v2/{repository}/blobs/uploads/{uploads.start(repository).id}"
    refused = path.send("PATCH", at(place, _state=state), b"abc")
    assert (refused.status, code(refused)) == (400, "BLOB_UPLOAD_INVALID")


def test_an_address_serves_one_upload_for_its_time(path: Path, repository: str) -> None:
    mine, other = start(path, repository), uploads.start(repository).id
    state = mine.partition("_state=")[2]
    refused = path.send("PATCH", f"/v2/{repository}/blobs/uploads/{other}?_state={state}", b"abc")
    assert (refused.status, code(refused)) == (400, "BLOB_UPLOAD_INVALID")
    expired = keys.sign({"repository": repository, "upload": other}, "upload", -60)
    refused = path.send("PATCH", f"/v2/{repository}/blobs/uploads/{other}?_state={expired}", b"abc")
    assert (refused.status, code(refused)) == (404, "BLOB_UPLOAD_UNKNOWN")
    token = keys.sign({"repository": repository, "upload": other}, "registry", 60)
    refused = path.send("PATCH", f"/v2/{repository}/blobs/uploads/{other}?_state={token}", b"abc")
    assert (refused.status, code(refused)) == (400, "BLOB_UPLOAD_INVALID")


def test_without_state_the_address_authorises_nothing(relay: RelayPath, repository: str) -> None:
    place = f"/v2/{repository}/blobs/uploads/{uploads.start(repository).id}"
    assert relay.send("PATCH", place, b"abc").status == 400
    request = Request("PATCH", place)
    assert not upload_http.is_capability(request, names.parse_path(place))


def test_an_address_ends_when_its_upload_does_however_often_it_is_used(
    path: Path, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = start(path, repository)
    first = table.read(upload_of(location))
    assert first is not None
    monkeypatch.setattr(table, "now", lambda: conditions.now() + 3600_000)
    renewed = path.send("PATCH", location, b"abc").headers["Location"]
    again = table.read(upload_of(location))
    assert again is not None
    assert again.expires == first.expires
    state = jwt.decode(parse_qs(urlsplit(renewed).query)["_state"][0], options={"verify_signature": False})
    assert state["exp"] - state["iat"] <= settings().upload_seconds - 3600 + 1


def test_an_upload_ends_with_its_project(path: Path, make_project: Callable[[str], None]) -> None:
    name = f"gone{os.urandom(6).hex()}"
    make_project(name)
    location, (content, digest) = start(path, f"{name}/app"), random_content(10)
    other = start(path, f"{name}/app")
    project_deletion.delete(rules.get(name))
    make_project(name)
    # What this process remembers of the project is at most 30 seconds old; the end of an upload relies on none of it.
    assert path.send("PUT", other, content, digest=digest).status == 404
    rules.forget(name)
    assert path.send("PATCH", location, b"abc").status == 404
    assert stored(f"{name}/app", digest) is None


def test_methods_that_uploads_do_not_have(path: Path, repository: str) -> None:
    refused = path.send("OPTIONS", start(path, repository))
    assert (refused.status, code(refused)) == (405, "UNSUPPORTED")


def test_what_a_function_could_not_verify_is_refused(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_http, "_VERIFIABLE", MIB)
    session = uploads.start(repository)
    place = f"/v2/{repository}/blobs/uploads/{session.id}"
    request = Request("PATCH", place, headers={"content-length": str(MIB + 1)}, body=bytes(MIB + 1))
    with pytest.raises(RegistryError, match="relay") as caught:
        upload_http.handle(request, names.parse_path(place), ADMIN)
    assert to_response(caught.value).status == 413


class ForgetfulPath(FunctionPath):
    """The function, forgetting between requests what it hashed, as when another instance answers."""

    def send(
        self, method: str, location: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **query: str
    ) -> Response:
        upload_writer._hashers.clear()
        return super().send(method, location, body, headers, **query)


@given(
    sizes=st.lists(st.integers(0, 7 * MIB), min_size=1, max_size=5),
    algorithm=st.sampled_from(ALGORITHMS),
    last_in_put=st.booleans(),
    forgetful=st.booleans(),
)
@example_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_it_is_cut_the_blob_is_what_was_sent(
    repository: str, sizes: list[int], algorithm: str, last_in_put: bool, forgetful: bool
) -> None:
    path = ForgetfulPath() if forgetful else FunctionPath()
    chunks = [random_content(size)[0] for size in sizes]
    content = b"".join(chunks)
    digest = digests.of(content, algorithm)
    location = start(path, repository)
    for chunk in chunks[:-1] if last_in_put else chunks:
        location = path.send("PATCH", location, chunk).headers["Location"]
    assert path.send("PUT", location, chunks[-1] if last_in_put else b"", digest=digest).status == 201
    assert stored(repository, digest) == content


@given(st.text(max_size=60))
def test_any_content_range_is_read_or_refused(text: str) -> None:
    session = table.Session("0" * 32, "a/b", "v", 0, offset=5)
    request = Request("PATCH", "/v2/a/b/blobs/uploads/x", headers={"content-range": text})
    try:
        length = upload_http._chunk_length(request, session)
    except (RegistryError, upload_writer.OutOfOrderError):
        return
    assert length is not None
    assert length > 0


def test_ten_thousand_parts_fit_an_item_and_hold_any_blob() -> None:
    sizes = [upload_writer.part_size(number) for number in range(1, 10_001)]
    assert sum(sizes) > 4.9 * 2**40
    assert sizes == sorted(sizes)
    assert max(sizes) <= 5 * 2**30
    parts = tuple((number, uuid.uuid4().hex) for number in range(1, 10_001))
    packed = table._pack(parts)
    assert packed is not None
    assert len(packed) < 250_000
    assert table._unpack(packed) == parts
