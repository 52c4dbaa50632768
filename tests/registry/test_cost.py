"""docs/cost.md counts DynamoDB's units and S3's requests as they are: an image with 6 layers, pushed and pulled."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.access import tokens
from chalicelib.access.authentication import Caller
from chalicelib.http import Request, Response
from chalicelib.oci import digests, manifests
from chalicelib.storage import aws_json
from chalicelib.storage.tables.item import connection
from chalicelib.v2.routes import handle
from tests.registry.images import CONFIG, descriptor, image, push_image
from tests.v2.upload_paths import RelayPath, served_relay

pytestmark = pytest.mark.usefixtures("cloud")

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cost.md").read_text()
BLOBS = 7


class Units:
    """What DynamoDB bills of small items, all read consistently, and how many objects and parts S3 is sent."""

    def __init__(self) -> None:
        self.reads, self.writes, self.objects = 0, 0, 0

    def count(self, event_name: str, params: dict[str, Any], **_: Any) -> None:
        operation = event_name.rpartition(".")[2]
        request = json.loads(params["body"]) if "body" in params else params
        if operation in ("GetItem", "Query"):
            self.reads += 1
        elif operation == "BatchGetItem":
            self.reads += sum(len(table["Keys"]) for table in request["RequestItems"].values())
        elif operation == "BatchWriteItem":
            self.writes += sum(map(len, request["RequestItems"].values()))
        elif operation == "TransactWriteItems":
            self.writes += 2 * len(request["TransactItems"])
        elif operation in ("PutItem", "UpdateItem", "DeleteItem"):
            self.writes += 1 + ("candidate" in request.get("Item", {}))  # the sparse index has an item of its own
        elif operation in ("PutObject", "UploadPart"):
            self.objects += 1


@contextlib.contextmanager
def counted() -> Iterator[Units]:
    units = Units()
    hubs = [aws_json.events, connection().client.meta.events]
    for hub in hubs:
        hub.register("before-call.*.*", units.count)
    try:
        yield units
    finally:
        for hub in hubs:
            hub.unregister("before-call.*.*", units.count)


def stated(row: str) -> int:
    """The figure before a price in a row of the page: how many units, or the first number."""
    found = re.search(row, PAGE)
    assert found, f"docs/cost.md has no row {row}"
    return int(found[1])


@pytest.fixture(scope="module")
def relay(cloud: object) -> Iterator[RelayPath]:
    with served_relay() as path:
        yield path


@pytest.fixture
def send(repository: str, admin_token: Callable[..., str]) -> Callable[..., Response]:
    """Send requests about one repository, which holds an image already, with a token that was used before."""
    push_image(repository)
    authorization = f"Bearer {admin_token(repository)}"

    def request(method: str, path: str, body: bytes = b"") -> Response:
        headers = {"authorization": authorization, "content-type": manifests.OCI_MANIFEST}
        return handle(Request(method, f"/v2/{repository}/{path}", {}, headers, body, "http://localhost"))

    request("POST", "blobs/uploads/")  # from now on key and project are cached
    return request


def push(send: Callable[..., Response], relay: RelayPath) -> tuple[str, list[str]]:
    """As docker does it: look for each blob, send it in one PATCH, end it, then the manifest."""
    contents = [os.urandom(64) for _ in range(BLOBS)]
    for content in contents:
        digest = digests.of(content)
        assert send("HEAD", f"blobs/{digest}").status == 404
        location = send("POST", "blobs/uploads/").headers["Location"]
        location = relay.send("PATCH", location, content).headers["Location"]
        assert relay.send("PUT", location, digest=digest).status == 201
    config, *layers = contents
    manifest = image(descriptor(config, CONFIG), *map(descriptor, layers))
    assert send("PUT", "manifests/v1", manifest).status == 201
    return digests.of(manifest), list(map(digests.of, contents))


def test_a_push_costs_what_the_page_says(send: Callable[..., Response], relay: RelayPath) -> None:
    with counted() as units:
        push(send, relay)
    assert units.writes == stated(r"DynamoDB writes: .* ([0-9]+) . \$0\.625"), "count anew in docs/cost.md"
    assert units.reads == stated(r"DynamoDB reads: .*?([0-9]+) . \$0\.125"), "count anew in docs/cost.md"
    assert units.objects == stated(r"S3: ([0-9]+) PUTs"), "count anew in docs/cost.md"


def test_a_pull_costs_what_the_page_says(repository: str, send: Callable[..., Response], relay: RelayPath) -> None:
    manifest, blobs = push(send, relay)
    token = tokens.issue(Caller("admin", is_admin=True), [f"repository:{repository}:pull"]).text

    def pull(method: str, path: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        return handle(Request(method, f"/v2/{repository}/{path}", {}, headers, b"", "http://localhost")).status

    with counted() as units:
        assert pull("HEAD", "manifests/v1") == 200
        assert pull("GET", f"manifests/{manifest}") == 200
        assert {pull("GET", f"blobs/{digest}") for digest in blobs} == {307}
    assert units.writes == units.objects == 0
    assert units.reads == stated(r"DynamoDB, ([0-9]+) . \$0\.125"), "count anew in docs/cost.md"
