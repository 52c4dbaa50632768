"""Between Chalice and the registry's own request and response."""

from __future__ import annotations

import base64
import threading
from typing import Any

from chalice.app import Chalice, MultiDict
from chalice.app import Request as ChaliceRequest
from chalice.app import Response as ChaliceResponse

from chalicelib import background
from chalicelib.http import Request, Response

_TEXT_LIMIT = 1 << 19
"""Longer bodies travel as base64: JSON's escapes make up to six bytes of one, and Lambda takes 6 MB."""


CHALLENGE_COPY = "x-berth-authenticate"


class BerthApp(Chalice):
    """A Chalice app that several threads may call at once, as the local gateway does.

    Chalice keeps the current request in an attribute of the app, which suits Lambda's one request at a time.
    """

    _local = threading.local()

    def __init__(self, app_name: str) -> None:
        # Chalice would put a handler and a level of its own on the logger of this name, which is Powertools'.
        super().__init__(app_name, configure_logs=False)
        # Responses say themselves whether they are base64 (ExactResponse). With binary types, Chalice would refuse
        # to answer clients that do not accept the type, which registries never do.
        self.api.binary_types = []

    def __call__(self, event: Any, context: Any) -> Any:
        answer = super().__call__(event, context)
        background.response_sent()
        return answer

    @property
    def current_request(self) -> ChaliceRequest:
        request: ChaliceRequest = self._local.request
        return request

    @current_request.setter
    def current_request(self, request: ChaliceRequest) -> None:
        self._local.request = request

    @property
    def lambda_context(self) -> Any:
        return self._local.context

    @lambda_context.setter
    def lambda_context(self, context: Any) -> None:
        self._local.context = context


class ExactResponse(ChaliceResponse):
    """A response whose bytes reach the client as they are, whatever their media type and the request's Accept."""

    def to_dict(self, binary_types: list[str] | None = None) -> dict[str, Any]:  # noqa: ARG002 -- as in Chalice
        content: bytes = self.body
        text = _text(content)
        return {
            "statusCode": self.status_code,
            "headers": {name: value for name, value in self.headers.items() if isinstance(value, str)},
            "multiValueHeaders": {name: value for name, value in self.headers.items() if isinstance(value, list)},
            "body": base64.b64encode(content).decode() if text is None else text,
            "isBase64Encoded": text is None,
        }


def _text(content: bytes) -> str | None:
    """A body as it travels in an event's JSON; None for what is long, or no text: a chart's values may be anything."""
    if len(content) > _TEXT_LIMIT:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def to_request(request: ChaliceRequest, path: str) -> Request:
    """The request that Chalice holds, with `path` percent-decoded."""
    headers = {name.lower(): value for name, value in request.to_original_event()["headers"].items()}
    # The first of several proxies is the client's: each adds its own behind.
    scheme = headers.get("x-forwarded-proto", "https").partition(",")[0].strip()
    raw = request.raw_body
    return Request(
        method=request.method,
        path=path,
        query=_first_values(request.query_params),
        headers=headers,
        body=raw if isinstance(raw, bytes) else raw.encode(),
        origin=f"{scheme}://{headers.get('host', '')}",
        request_id=request.context.get("requestId", ""),
        address=request.context.get("identity", {}).get("sourceIp") or "",
        repeated=_all_values(request.query_params),
    )


def _first_values(query: MultiDict | None) -> dict[str, str]:
    """As the relay and `distribution` take them; Chalice would give the last."""
    return {} if query is None else {name: query.getlist(name)[0] for name in query}


def _all_values(query: MultiDict | None) -> dict[str, list[str]]:
    return {} if query is None else {name: query.getlist(name) for name in query}


def to_chalice(response: Response) -> ExactResponse:
    headers: dict[str, str | list[str]] = {"X-Content-Type-Options": "nosniff", **response.headers}
    if response.cookies:
        headers["Set-Cookie"] = list(response.cookies)
    if "WWW-Authenticate" in headers:
        # API Gateway may rename this header; infra/template.py maps its copy back onto it.
        headers[CHALLENGE_COPY] = headers["WWW-Authenticate"]
    return ExactResponse(body=response.body, headers=headers, status_code=response.status)
