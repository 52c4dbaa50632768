"""The laptop's API Gateway: an HTTP API with payload format 1.0 whose Lambda is the Chalice app in this process.

It enforces what the real one does, so that what works here works there (AWS: "Quotas for configuring and running an
HTTP API", "Lambda quotas"). Beside the app it serves the upload relay, which on AWS is a container of its own.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from chalicelib.http import to_response
from chalicelib.oci.errors import TooLarge
from infra.local.workers import Workers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
LambdaFunction = Callable[[dict[str, Any], Any], Mapping[str, Any]]

BODY_LIMIT = 10 * 1024 * 1024
PAYLOAD_LIMIT = 6 * 1024 * 1024
"""Bytes of a Lambda invocation's payload, each way."""
HEADER_LIMIT = 10_240
"""Bytes of the request line and all headers together."""
TIMEOUT_SECONDS = 30.0
THREADS = 32

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"}
)
_TEXT = ("text/", "application/json", "application/javascript", "application/xml")

log = logging.getLogger("berth.gateway")


@dataclass(frozen=True)
class Context:
    """What a Lambda function is told of its invocation (the part that Powertools reads)."""

    aws_request_id: str
    function_name: str = "berth-request"
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 1769
    invoked_function_arn: str = "arn:aws:lambda:local:000000000000:function:berth-request"


@dataclass(frozen=True)
class Match:
    """The route that a path took, and its parameters, percent-encoded as they came."""

    resource: str
    parameters: dict[str, str]


class Router:
    """Finds a method's routes as an HTTP API does: exact before variables, variables before the longest greedy one."""

    def __init__(self, routes: Iterable[tuple[str, str]]) -> None:
        """`routes` are (method, path) pairs."""
        self._exact: set[tuple[str, str]] = set()
        self._variable: dict[str, list[list[str]]] = {}
        self._greedy: dict[str, list[tuple[str, str]]] = {}
        for method, path in sorted(routes, key=lambda route: len(route[1]), reverse=True):
            if path.endswith("+}"):
                self._greedy.setdefault(method, []).append((path.partition("{")[0], path))
            elif "{" in path:
                self._variable.setdefault(method, []).append(path.split("/"))
            else:
                self._exact.add((method, path))

    def find(self, method: str, path: str) -> Match | None:
        if (method, path) in self._exact:
            return Match(path, {})
        segments = path.split("/")
        for pattern in self._variable.get(method, ()):
            if len(pattern) == len(segments) and all(map(_fits, pattern, segments)):
                pairs = zip(pattern, segments, strict=True)
                return Match("/".join(pattern), {part[1:-1]: segment for part, segment in pairs if part[:1] == "{"})
        for prefix, resource in self._greedy.get(method, ()):
            if path.startswith(prefix):
                return Match(resource, {resource.partition("{")[2][:-2]: path[len(prefix) :]})
        return None


def _fits(part: str, segment: str) -> bool:
    return segment != "" if part.startswith("{") else part == segment


class Gateway:
    """An ASGI app: `function` behind `routes`, and other ASGI apps mounted under their prefixes."""

    def __init__(
        self,
        function: LambdaFunction,
        routes: Iterable[tuple[str, str]],
        mounts: Mapping[str, AsgiApp] | None = None,
        finish: Callable[[], None] | None = None,
    ) -> None:
        """`finish` is called when the gateway stops, after the last request."""
        self._workers = Workers(function, THREADS)
        self._bodies = _Bodies(_BODIES)
        self._router = Router(routes)
        self._mounts = dict(mounts or {})
        self._finish = finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            path: str = scope["raw_path"].decode("latin-1").partition("?")[0]
            for prefix, mounted in self._mounts.items():
                if path.startswith(prefix):
                    await mounted(scope, receive, send)
                    return
            await self._respond(scope, path, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            ends = message["type"] == "lifespan.shutdown"
            if ends and self._finish:
                await asyncio.to_thread(self._finish)
            await send({"type": f"{message['type']}.complete"})
            if ends:
                return

    async def _respond(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        line = len(method) + len(path) + len(scope["query_string"])
        if line + sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_LIMIT:
            await _send(send, method, 431, _MESSAGE, b'{"message":"Request Header Fields Too Large"}')
            return
        match = self._router.find(method, path)
        if match is None:
            await _send(send, method, 404, _MESSAGE, b'{"message":"Not Found"}')
            return
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                body = await self._bodies.read(receive, scope)
        except _ClientLeft:
            return
        except TimeoutError:
            await _send(send, method, 408, [*_MESSAGE, _CLOSE], b'{"message":"Request Timeout"}')
            return
        except _BusyError:
            await _send(send, method, 503, [*_MESSAGE, _CLOSE], b'{"message":"Service Unavailable"}')
            return
        event = None if body is None else make_event(scope, path, match, body)
        if event is None:
            await _refuse_large(send, method, path)
            return
        await self._invoke(send, method, event)

    async def _invoke(self, send: Send, method: str, event: dict[str, Any]) -> None:
        context = Context(event["requestContext"]["requestId"])
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._workers.call(event, context)
        except TimeoutError:
            await _send(send, method, 503, _MESSAGE, b'{"message":"Service Unavailable"}')
            return
        except Exception:
            log.exception("the function failed")
            await _send(send, method, 500, _MESSAGE, _INTERNAL_ERROR)
            return
        text: str = answer["body"]
        if len(text) > PAYLOAD_LIMIT:
            log.error("the function's response has %d bytes, Lambda allows %d", len(text), PAYLOAD_LIMIT)
            await _send(send, method, 500, _MESSAGE, _INTERNAL_ERROR)
            return
        content = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
        headers = [(name, value) for name, value in answer["headers"].items()]
        headers += [(name, value) for name, values in answer["multiValueHeaders"].items() for value in values]
        await _send(send, method, answer["statusCode"], headers, content)


_MESSAGE = [("Content-Type", "application/json")]
_CLOSE = ("Connection", "close")
"""For a request whose body is not read to its end: it could go on for ever."""
_BODIES = 128 << 20
"""Bytes of requests' bodies that are on their way at once."""
_INTERNAL_ERROR = b'{"message":"Internal Server Error"}'


def make_event(scope: Scope, path: str, match: Match, body: bytes) -> dict[str, Any] | None:
    """The payload format 1.0 event of a request; None when Lambda would not take one so large.

    Source: AWS, "Working with AWS Lambda proxy integrations for HTTP APIs".
    """
    headers: dict[str, str] = {}
    multi: dict[str, list[str]] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name not in _HOP_BY_HOP:
            headers[name] = value
            multi.setdefault(name, []).append(value)
    client = scope.get("client") or ("", 0)
    if body:
        headers["content-length"] = str(len(body))  # a chunked body has been put together
    headers.setdefault("x-forwarded-proto", scope["scheme"])
    headers["x-forwarded-for"] = client[0]
    is_text = headers.get("content-type", "").startswith(_TEXT) and body.isascii()
    if len(body) * (1 if is_text else 4 / 3) + HEADER_LIMIT > PAYLOAD_LIMIT:
        return None
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        query.setdefault(name, []).append(value)
    request_id = uuid.uuid4().hex
    return {
        "version": "1.0",
        "resource": match.resource,
        "path": path,
        "httpMethod": scope["method"],
        "headers": headers,
        "multiValueHeaders": multi,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "httpMethod": scope["method"],
            "identity": {"sourceIp": client[0], "userAgent": headers.get("user-agent")},
            "path": path,
            "protocol": f"HTTP/{scope['http_version']}",
            "requestId": request_id,
            "resourcePath": match.resource,
            "stage": "$default",
        },
        "pathParameters": match.parameters or None,
        "stageVariables": None,
        "body": (body.decode() if is_text else base64.b64encode(body).decode()) if body else None,
        "isBase64Encoded": bool(body) and not is_text,
    }


class _ClientLeft(Exception):
    """The connection ended before the request did: what came of it is no request."""


class _BusyError(Exception):
    """Bodies that come at the same time take as much memory as they may."""


class _Bodies:
    """Reads the bodies of requests, which together take a bounded number of bytes until they are whole."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    async def read(self, receive: Receive, scope: Scope) -> bytes | None:
        """The request's body, None when it is over the limit. A body that says so beforehand is not read at all.

        Raises _ClientLeft or _BusyError.
        """
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > BODY_LIMIT:
            return None
        chunks: list[bytes] = []
        size, more = 0, True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _ClientLeft
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                self._left -= len(chunks[-1])
                if size > BODY_LIMIT:
                    return None
                if self._left < 0:
                    raise _BusyError
                more = message.get("more_body", False)
            return b"".join(chunks)
        finally:
            self._left += size


async def _refuse_large(send: Send, method: str, path: str) -> None:
    """API Gateway's 413; on the registry's paths with an OCI body that says what to do instead."""
    if not path.startswith("/v2/"):
        await _send(send, method, 413, _MESSAGE, b'{"message":"Request Entity Too Large"}')
        return
    refusal = to_response(
        TooLarge(
            "the API takes bodies up to about 4.5 MB: a manifest may have 4 MiB, a layer goes to the Location of its "
            "upload at the relay, or comes in chunks"
        )
    )
    await _send(send, method, refusal.status, refusal.headers.items(), refusal.body)


async def _send(send: Send, method: str, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
    """Send a response. A HEAD's has the length of the body that a GET would have, and no body (RFC 9110)."""
    try:
        encoded = [_header(name, value) for name, value in headers if name.lower() != "content-length"]
    except ValueError:
        log.exception("the function's response has a malformed header")
        status, encoded, body = 500, [(b"content-type", b"application/json")], _INTERNAL_ERROR
    if status not in (204, 304):
        encoded.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    """A header as it goes on the wire. Raises ValueError for one that would end early, and start another."""
    if not value.isprintable() or not name.isprintable():
        raise ValueError(f"{name!r}: {value!r}")
    return name.lower().encode("latin-1"), value.encode("latin-1")
