"""The call budgets of the design: AWS calls on the critical path of each request, counted by botocore's events."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.access import tokens
from chalicelib.access.authentication import Caller
from chalicelib.http import Request, Response
from chalicelib.registry.pull import _contents
from chalicelib.storage import aws_json
from chalicelib.storage.tables.blobs import BlobItem, LinkItem
from chalicelib.storage.tables.item import connection
from chalicelib.storage.tables.repositories import CatalogItem, ManifestItem, TagItem
from chalicelib.v2.routes import handle
from tests.registry.images import CONFIG, image, index, push_blob, push_image

pytestmark = pytest.mark.usefixtures("cloud")

_READS = {"GetItem", "BatchGetItem", "Query", "GetSecretValue"}


class Calls(list[tuple[str, str]]):
    """The calls made, as (service, operation)."""

    @property
    def summary(self) -> tuple[int, int, int]:
        """How many reads and writes of tables and secrets, and how many calls of S3."""
        s3 = sum(service == "s3" for service, _ in self)
        reads = sum(service != "s3" and operation in _READS for service, operation in self)
        return reads, len(self) - reads - s3, s3


@contextlib.contextmanager
def counted() -> Iterator[Calls]:
    calls = Calls()

    def record(event_name: str, **_: Any) -> None:
        _, service, operation = event_name.split(".")
        calls.append((service, operation))

    hubs = [aws_json.events, connection().client.meta.events]
    for hub in hubs:
        hub.register("before-call.*.*", record)
    try:
        yield calls
    finally:
        for hub in hubs:
            hub.unregister("before-call.*.*", record)


@pytest.fixture
def send(repository: str, admin_token: Callable[..., str]) -> Callable[..., Response]:
    """Send requests about one repository with a token that was used before: keys and project are cached."""
    authorization = f"Bearer {admin_token(repository)}"

    def request(method: str, path: str, body: bytes = b"", **query: str) -> Response:
        headers = {"authorization": authorization, "content-length": str(len(body))}
        return handle(Request(method, f"/v2/{repository}/{path}", query, headers, body, "http://localhost"))

    request("GET", "manifests/none")
    return request


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_manifest(repository: str, send: Callable[..., Response], method: str) -> None:
    digest, _ = push_image(repository, "v1")
    budgets = {"cold": {digest: (1, 0, 0), "v1": (2, 0, 0)}, "warm": {digest: (1, 0, 0), "v1": (1, 0, 0)}}
    for state, references in budgets.items():
        for reference, budget in references.items():
            if state == "cold":
                _contents.__init__(1 << 20)  # type: ignore[misc]  # a container that has served nothing yet
            with counted() as calls:
                assert send(method, f"manifests/{reference}").status == 200
            assert calls.summary == budget, (state, reference, calls)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_blob(repository: str, send: Callable[..., Response], method: str) -> None:
    digest = push_blob(repository, os.urandom(8))["digest"]
    with counted() as calls:
        assert send(method, f"blobs/{digest}").status == 307
    assert calls.summary == (1, 0, 0)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_blob_that_was_pulled_lately(repository: str, send: Callable[..., Response], method: str) -> None:
    """Who can push is always told what the table says, since the push may rely on it."""
    digest = push_blob(repository, os.urandom(8))["digest"]
    path = f"/v2/{repository}/blobs/{digest}"
    token = tokens.issue(Caller("admin", is_admin=True), [f"repository:{repository}:pull"]).text
    pull = Request(method, path, {}, {"authorization": f"Bearer {token}"}, b"", "http://localhost")
    for budget in (1, 0):
        with counted() as calls:
            assert handle(pull).status == 307
        assert calls.summary == (budget, 0, 0)
    for _ in range(2):
        with counted() as calls:
            assert send(method, f"blobs/{digest}").status == 307
        assert calls.summary == (1, 0, 0)
    assert send("DELETE", f"blobs/{digest}").status == 202
    assert handle(pull).status == 404


def test_starting_an_upload(send: Callable[..., Response]) -> None:
    with counted() as calls:
        assert send("POST", "blobs/uploads/").status == 202
    reads, writes, s3 = calls.summary
    assert reads <= 2
    assert (writes, s3) == (1, 0)


def test_mounting_a_blob(
    repository: str, other_repository: str, admin_token: Callable[..., str], send: Callable[..., Response]
) -> None:
    digest = push_blob(other_repository, os.urandom(8))["digest"]
    authorization = f"Bearer {admin_token(repository, other_repository)}"
    path, query = f"/v2/{repository}/blobs/uploads/", {"mount": digest, "from": other_repository}
    request = Request("POST", path, query, {"authorization": authorization}, b"", "http://localhost")
    with counted() as calls:
        assert handle(request).status == 201
    reads, writes, s3 = calls.summary
    assert reads <= 2
    assert (writes, s3) == (1, 0)


@pytest.mark.parametrize("layers", [1, 19])
def test_putting_a_manifest(repository: str, send: Callable[..., Response], layers: int) -> None:
    config = push_blob(repository, b"{}", CONFIG)
    content = image(config, *(push_blob(repository, os.urandom(8)) for _ in range(layers)))
    for _ in ("first", "again"):
        with counted() as calls:
            assert send("PUT", "manifests/v1", content).status == 201
        reads, writes, s3 = calls.summary
        assert reads <= 3
        assert writes <= 3
        assert s3 == 0


def test_lists(repository: str, send: Callable[..., Response]) -> None:
    digest, _ = push_image(repository, "v1")
    for path in ("tags/list", f"referrers/{digest}"):
        with counted() as calls:
            assert send("GET", path).status == 200
        assert calls.summary == (1, 0, 0), path


def test_one_client_serves_all_tables(repository: str) -> None:
    """docs/decisions/one-client.md: a client a model would cost 200 ms of cold start each."""
    push_image(repository, "v1")
    models = [BlobItem, LinkItem, ManifestItem, TagItem, CatalogItem]
    assert {id(model._get_connection().connection.client) for model in models} == {id(connection().client)}


@pytest.mark.parametrize("entries", [1, 20])
def test_putting_an_index(repository: str, send: Callable[..., Response], entries: int) -> None:
    """What it names may be a manifest or a blob, and is looked for and held as both."""
    children = [push_image(repository)[1] for _ in range(entries - 1)]
    blob = push_blob(repository, os.urandom(8))
    document = json.loads(index(*children))
    content = json.dumps({**document, "manifests": [*document["manifests"], blob]}).encode()
    with counted() as calls:
        assert send("PUT", "manifests/v1", content).status == 201
    reads, writes, s3 = calls.summary
    assert reads <= 3
    assert writes <= 3
    assert s3 == 0
