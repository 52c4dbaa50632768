"""The two ways that an upload's requests take, as one client: through the function, and through the relay over HTTP."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

import uvicorn

from chalicelib.access.authentication import Caller
from chalicelib.http import Request, Response, to_response
from chalicelib.oci import digests, names
from chalicelib.oci.errors import RegistryError
from chalicelib.registry.store import blobs as blob_table
from chalicelib.storage import blobstore
from chalicelib.v2 import uploads
from chalicelib.v2.relay import Relay
from chalicelib.v2.relay.protocol import BoundedHeads

ADMIN = Caller("admin", 1, is_admin=True)


class Path(Protocol):
    def send(
        self, method: str, location: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **query: str
    ) -> Response: ...


class FunctionPath:
    """What the request function does once the caller is authorised."""

    def send(
        self, method: str, location: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **query: str
    ) -> Response:
        url = urlsplit(location)
        request = Request(
            method,
            url.path,
            {**dict(parse_qsl(url.query, keep_blank_values=True)), **query},
            {"content-length": str(len(body)), **(headers or {})},
            body,
        )
        target = names.parse_path(url.path)
        try:
            is_capability = target.kind == "upload" and uploads.is_capability(request, target)
            return uploads.handle(request, target, None if is_capability else ADMIN)
        except RegistryError as error:
            return to_response(error)


@dataclass(frozen=True)
class RelayPath:
    """A relay behind a real HTTP server. Uploads start at the function, as they do when one is configured."""

    port: int

    def send(
        self, method: str, location: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **query: str
    ) -> Response:
        if method == "POST":
            return FunctionPath().send(method, location, body, headers, **query)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, at(location, **query), body, dict(headers or {}))
            answer = connection.getresponse()
            fields = {name.title(): value for name, value in answer.getheaders()}
            if "Docker-Upload-Uuid" in fields:
                fields["Docker-Upload-UUID"] = fields.pop("Docker-Upload-Uuid")
            return Response(answer.status, fields, answer.read())
        finally:
            connection.close()


def at(location: str, **query: str) -> str:
    """A Location with more query parameters, as clients add them."""
    if not query:
        return location
    return f"{location}{'&' if '?' in location else '?'}{urlencode(query)}"


@contextmanager
def served_relay(relay: Relay | None = None) -> Iterator[RelayPath]:
    """A relay of its own, in this process, on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(relay or Relay(), http=BoundedHeads, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield RelayPath(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)


def start(path: Path, repository: str, **query: str) -> str:
    """Start an upload; returns its Location."""
    response = path.send("POST", f"/v2/{repository}/blobs/uploads/", **query)
    assert response.status == 202, response.body
    return response.headers["Location"]


def stored(repository: str, digest: str) -> bytes | None:
    """The bytes that `repository` would serve under `digest`."""
    blob, link = blob_table.read(repository, digest)
    if blob is None or link is None or link.object_key != blob.object_key:
        return None
    content = blobstore.get(blob.object_key)
    assert content is not None, "a blob without its object"
    assert len(content) == blob.size
    return content


def upload_of(location: str) -> str:
    return urlsplit(location).path.rpartition("/")[2]


def random_content(size: int) -> tuple[bytes, str]:
    content = os.urandom(size)
    return content, digests.of(content)
