"""A push that dies between any two of its store writes leaves nothing dangling, and pushing again succeeds."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from urllib3 import HTTPResponse

from chalicelib.http import Request, Response
from chalicelib.oci import digests, manifests
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.settings import settings
from chalicelib.storage import aws_json, blobstore, reads
from chalicelib.storage.tables.item import connection
from chalicelib.v2.routes import handle
from tests.registry.images import CONFIG, descriptor, image, push_image

pytestmark = pytest.mark.usefixtures("cloud")

_WRITES = {
    *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"),
    *("PutObject", "DeleteObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),
}


class Killed(BaseException):
    """The process ends here. Not an Exception: nothing may catch it and tidy up."""


@contextlib.contextmanager
def killed_at(number: int, moment: str) -> Iterator[list[str]]:
    """Die `before-call` or `after-call` of the store write with this number, counted from 0; yields the writes seen."""
    seen: list[str] = []

    def count(event_name: str, **_: Any) -> None:
        operation = event_name.rpartition(".")[2]
        if operation in _WRITES:
            seen.append(operation)
            if len(seen) - 1 == number:
                raise Killed(operation)

    hubs = [connection().client.meta.events, aws_json.events]
    for hub in hubs:
        hub.register(f"{moment}.*.*", count)
    try:
        yield seen
    finally:
        for hub in hubs:
            hub.unregister(f"{moment}.*.*", count)


def push(repository: str, authorization: str, tag: str, config: bytes, layer: bytes) -> str:
    """A whole push as a client does it: two uploads and a manifest."""
    for content in (config, layer):
        send("POST", f"{repository}/blobs/uploads/", authorization, {"digest": digests.of(content)}, content, 201)
    content = image(descriptor(config, CONFIG), descriptor(layer))
    send("PUT", f"{repository}/manifests/{tag}", authorization, {}, content, 201)
    return digests.of(content)


def send(method: str, path: str, authorization: str, query: dict[str, str], body: bytes, expected: int) -> Response:
    headers = {
        "authorization": authorization,
        "content-type": manifests.OCI_MANIFEST if "/manifests/" in path else "application/octet-stream",
        "content-length": str(len(body)),
    }
    response = handle(Request(method, f"/v2/{path}", query, headers, body, "http://localhost"))
    assert response.status == expected, response.body
    return response


def assert_sound(repository: str) -> None:
    """Every manifest pulls whole, and every tag names a manifest."""
    table = settings().repositories_table
    for item in reads.query_all(table, repository, manifest_table.MANIFEST_PREFIX):
        digest, generation = item["sk"].removeprefix(manifest_table.MANIFEST_PREFIX), item["generation"]
        for name in manifests.parse(item["content"], item["media_type"]).references:
            blob, link = blob_table.read(repository, name)
            assert blob is not None
            assert link is not None
            assert link.object_key == blob.object_key
            assert blobstore.get(blob.object_key) is not None
            edges = {(edge.manifest, edge.generation) for edge in blob_table.edges_onto(name, repository)}
            assert (digest, generation) in edges
    for item in reads.query_all(table, repository, manifest_table.TAG_PREFIX):
        assert manifest_table.read_record(repository, item["digest"]) is not None
        name = item["sk"].removeprefix(manifest_table.TAG_PREFIX)
        assert name in manifest_table.tags_of(repository, item["digest"])


@pytest.mark.parametrize("moment", ["before-call", "after-call"])
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_a_push_killed_at_any_write(repository: str, admin_authorization: str, moment: str, again: bool) -> None:
    number, finished = 0, False
    while not finished:
        name = f"{repository}{number}"
        config, layer = os.urandom(16), os.urandom(64)
        if again:
            push(name, admin_authorization, "v1", config, layer)
        with killed_at(number, moment) as writes:
            try:
                push(name, admin_authorization, "v1", config, layer)
                finished = True
            except Killed:
                pass
        assert_sound(name)
        digest = push(name, admin_authorization, "v1", config, layer)
        assert_sound(name)
        for expected in (config, layer):
            blob, _ = blob_table.read(name, digests.of(expected))
            assert blob is not None
            assert blobstore.get(blob.object_key) == expected
        assert manifest_table.read_record(name, digest) is not None
        number += 1
    assert number > len(set(writes)) > 1


@pytest.mark.parametrize("moment", ["before-call", "after-call"])
def test_a_delete_killed_at_any_write(repository: str, admin_authorization: str, moment: str) -> None:
    number, finished = 0, False
    while not finished:
        name = f"{repository}{number}"
        digest, content = push_image(name, "v1")
        with killed_at(number, moment):
            try:
                send("DELETE", f"{name}/manifests/{digest}", admin_authorization, {}, b"", 202)
                finished = True
            except Killed:
                pass
        assert_sound(name)
        for layer in json.loads(content)["layers"]:
            edges = blob_table.edges_onto(layer["digest"])
            blob, _ = blob_table.read(name, layer["digest"])
            # What nothing names is found again: by its mark, or by the edges that the sweep of orphans drops.
            assert blob is not None
            assert edges or blob.candidate_since is not None
        number += 1
    assert number > 2


def test_writes_that_are_throttled_for_a_moment_are_tried_again(repository: str, admin_authorization: str) -> None:
    """Every write is refused twice on the wire, and the push goes through."""
    seen: dict[str, int] = {}

    def throttle(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        target = str(request.headers["X-Amz-Target"])
        seen[target] = seen.get(target, 0) + 1
        if seen[target] > 2:
            return None
        body = json.dumps({"__type": "x#ThrottlingException", "message": "slow down"}).encode()
        answer = HTTPResponse(BytesIO(body), preload_content=False)
        return AWSResponse(request.url, 400, {"content-type": "application/x-amz-json-1.0"}, answer)

    events = connection().client.meta.events
    events.register("before-send.dynamodb.*", throttle)
    try:
        push(repository, admin_authorization, "v1", os.urandom(16), os.urandom(64))
    finally:
        events.unregister("before-send.dynamodb.*", throttle)
    assert min(seen.values()) > 2
    assert_sound(repository)


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "InternalServerError"])
def test_a_store_that_stays_busy_is_answered_with_503(
    repository: str, admin_authorization: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write fails, as often as it is tried: the client is told to come again, and nothing is stored."""
    push_image(repository, "v1")

    def refuse(**_: Any) -> tuple[Any, dict[str, Any]]:
        raw = type("Raw", (), {"status_code": 500 if code == "InternalServerError" else 400})()
        return raw, {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": raw.status_code}}

    events = connection().client.meta.events
    events.register("before-call.dynamodb.*", refuse)
    try:
        body = image(descriptor(b"{}", CONFIG))
        response = send("PUT", f"{repository}/manifests/v2", admin_authorization, {}, body, 503)
    finally:
        events.unregister("before-call.dynamodb.*", refuse)
    assert response.headers["Retry-After"] == "1"
    assert json.loads(response.body)["errors"][0]["code"] == "UNAVAILABLE"
    assert manifest_table.read_tag(repository, "v2") is None
