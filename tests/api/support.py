"""Calls of the API as a client makes them, without the gateway."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chalicelib.api import dispatch
from chalicelib.http import Request, Response
from tests.access.support import BASIC, ORIGIN
from tests.api import contract


def call(
    method: str, url: str, body: Any = None, *, headers: dict[str, str] | None = None, admin: bool = True
) -> Response:
    """Send `body` as JSON to `url`, relative to the API's prefix, as the administrator or as nobody."""
    parts = urlsplit(f"/api/v2.0{url}")
    content = b"" if body is None else json.dumps(body).encode()
    sent = {**(BASIC if admin else {}), **({"content-type": "application/json"} if content else {}), **(headers or {})}
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    request = Request(method, parts.path, query, sent, content, ORIGIN)
    response = dispatch.handle(request)
    contract.check(request, response)
    return response


def errors_of(response: Response) -> list[str]:
    """The codes of a Harbor error body."""
    return [entry["code"] for entry in json.loads(response.body)["errors"]]
