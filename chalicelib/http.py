"""A request and a response of the registry protocol, free of Chalice and of ASGI.

The request Lambda and the upload relay both speak in these, so that one set of rules answers on either path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chalicelib.oci.errors import RegistryError

_HOST = re.compile(r"https?://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")


@dataclass(frozen=True)
class Request:
    """One HTTP request. `headers` has lower-cased names; `query` keeps each parameter's first value."""

    method: str
    path: str
    """The path as the client sent it, percent-encoded."""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    origin: str = ""
    """Scheme and host that the client used, such as `https://registry.example.com`."""
    request_id: str = ""
    """The gateway's id of the request, to find it in the logs by."""
    address: str = ""
    """Where the client connects from, as the gateway says."""
    repeated: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Every value of the query's parameters, where one may stand more than once."""

    def values(self, name: str) -> Sequence[str]:
        """Every value of a parameter of the query."""
        return self.repeated.get(name) or ([self.query[name]] if name in self.query else [])

    @property
    def host(self) -> str:
        """The host name in `origin`, without its port; `localhost` when that is no plain name or address."""
        match = _HOST.match(self.origin)
        return match[1] if match else "localhost"


@dataclass(frozen=True)
class Response:
    """One HTTP response. A HEAD's response carries the body that a GET would; the edge drops it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cookies: tuple[str, ...] = ()
    """Values of `Set-Cookie`: the one header that an answer has several times."""


def json_response(body: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode())


PROTOCOL_HEADERS = {"Docker-Distribution-API-Version": "registry/2.0"}


def to_response(error: RegistryError) -> Response:
    """The OCI error body for `error`, with its headers."""
    entry: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.detail is not None:
        entry["detail"] = error.detail
    return Response(
        error.status,
        {**PROTOCOL_HEADERS, "Content-Type": "application/json", **error.headers},
        json.dumps({"errors": [entry]}).encode(),
    )
