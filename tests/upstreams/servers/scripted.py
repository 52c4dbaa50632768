"""The scripted upstream: repositories in memory behind a real HTTP server, which goes wrong as a test says.

with scripted() as upstream:
    image = upstream.put_image("app", "v1", layers=3)
    upstream.script(f"*/blobs/{image.layers[0]}", cut(after=1000), refuse(500))  # the next two requests for it
    upstream.script("*/manifests/*", too_many(), always=True)
"""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.upstreams.servers.asked import Asked, Log
from tests.upstreams.servers.certificates import Certificate
from tests.upstreams.servers.contents import Contents, repository_of
from tests.upstreams.servers.faults import Fault, Reply, Request, redirect, refusal
from tests.upstreams.servers.serving import Handler, Server, serving
from tests.upstreams.servers.tokens import TokenService

_PIECE = 1 << 16


@dataclass
class _Script:
    method: str
    path: str
    faults: deque[Fault]
    always: bool


class Scripted(Contents, Log):
    """See the module. It asks for a token of `tokens`, for the `basic` name and password, or for nothing."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        tokens: TokenService | None = None,
        basic: tuple[str, str] | None = None,
        tls: Certificate | None = None,
    ) -> None:
        super().__init__()
        self.tokens, self.basic = tokens, basic
        self._host, self._port, self._tls = host, 0, tls
        self._scripts: list[_Script] = []
        self._log: list[Asked] = []
        self._lock = threading.Lock()
        self._running: AbstractContextManager[Server] | None = None

    @property
    def name(self) -> str:
        return f"{self._host}:{self._port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.name}"

    def script(self, path: str, *faults: Fault, method: str = "*", always: bool = False) -> None:
        """The next requests to a path (a glob) go wrong, a fault each; with `always`, all of them by the one fault."""
        with self._lock:
            self._scripts.append(_Script(method, path, deque(faults), always))

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._scripts.clear()

    def redirect_blobs(self, cdn: Scripted) -> None:
        """Keep blobs on another host, and send clients there."""
        cdn.blobs = self.blobs
        self.script("/v2/*/blobs/*", redirect(f"{cdn.url}{{path}}?signature=of-the-cdn"), method="GET", always=True)

    def start(self) -> None:
        """On the port that it had, if it ran before."""
        server = Server(self._host, self._port, _handler(self), self._tls)
        self._port = server.server_port
        self._running = serving(server)
        self._running.__enter__()

    def stop(self) -> None:
        if self._running:
            self._running.__exit__(None, None, None)
            self._running = None

    def forget(self) -> None:
        with self._lock:
            self._log.clear()

    def record(self, asked: Asked) -> None:
        with self._lock:
            self._log.append(asked)

    def _all(self) -> list[Asked]:
        with self._lock:
            return list(self._log)

    def reply(self, request: Request) -> Reply:
        """What goes out: the right answer, or what a script makes of it."""
        fault = self._next_fault(request)
        reply = self._denied(request) or self.answer(request)
        return fault(request, reply) if fault else reply

    def _next_fault(self, request: Request) -> Fault | None:
        with self._lock:
            for script in self._scripts:
                fits = fnmatchcase(request.method, script.method) and fnmatchcase(request.path, script.path)
                if fits and script.faults:
                    return script.faults[0] if script.always else script.faults.popleft()
        return None

    def _denied(self, request: Request) -> Reply | None:
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if self.tokens:
            repository = repository_of(request.path)
            challenge = self.tokens.challenge(repository)
            is_in = kind == "Bearer" and self.tokens.allows(secret, repository)
        elif self.basic:
            challenge = 'Basic realm="upstream"'
            is_in = kind == "Basic" and base64.b64decode(secret).decode() == ":".join(self.basic)
        else:
            return None
        return None if is_in else refusal(401, "UNAUTHORIZED").having(WWW_Authenticate=challenge)


@contextlib.contextmanager
def scripted(host: str = "127.0.0.1", **options: Any) -> Iterator[Scripted]:
    """One that runs, on any address of this machine; the options are Scripted's."""
    upstream = Scripted(host, **options)
    upstream.start()
    try:
        yield upstream
    finally:
        upstream.stop()


def _handler(upstream: Scripted) -> type[Handler]:
    class _Handler(Handler):
        def respond(self) -> None:
            target = urlsplit(self.path)
            headers = {name.lower(): text for name, text in self.headers.items()}
            reply = upstream.reply(Request(self.command, target.path, dict(parse_qsl(target.query)), headers))
            asked = Asked(self.command, target.path, target.query, reply.status, 0, headers)
            upstream.record(asked)
            time.sleep(reply.wait)
            try:
                _send(self, reply, asked)
            except OSError:  # who asked has hung up
                self.close_connection = True

    return _Handler


def _send(handler: Handler, reply: Reply, asked: Asked) -> None:
    if reply.cut is not None and reply.cut < 0:
        handler.close_connection = True
        return
    handler.send_response(reply.status)
    for name, text in reply.headers.items():
        handler.send_header(name, text)
    if reply.chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    else:
        handler.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
    handler.end_headers()
    if handler.command == "HEAD":
        return
    body = memoryview(reply.body)[: reply.cut]
    step = _PIECE if reply.bytes_a_second is None else max(1, int(reply.bytes_a_second / 20))
    for start in range(0, len(body), step):
        piece = body[start : start + step]
        asked.sent += len(piece)
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)) if reply.chunked else piece)
        if reply.bytes_a_second is not None:
            time.sleep(len(piece) / reply.bytes_a_second)
    if reply.cut is None and reply.chunked:
        handler.wfile.write(b"0\r\n\r\n")
    if reply.cut is not None or reply.length is not None:
        handler.close_connection = True
