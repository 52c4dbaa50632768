"""The load generator: kept-alive HTTP/1.1 connections, each with one request under way.

Why not wrk: it waits for ever on a HEAD's answer that has no Content-Length, such as docker-registry's, and tells
nothing of statuses below 400. This one takes the same CPU for either server, well below what they take.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


class WrongAnswerError(Exception):
    """A server did not answer as it must: the measurement is void."""


@dataclass(frozen=True)
class Target:
    """A request to repeat, and the status that its answers must have."""

    method: str
    url: str
    headers: Mapping[str, str]
    status: int

    @property
    def message(self) -> bytes:
        parts = urlsplit(self.url)
        headers = {"Host": parts.netloc, **self.headers}
        lines = [f"{self.method} {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True)
class Load:
    """What came of it; times in milliseconds."""

    requests_per_second: float
    p50: float
    p99: float


def median(loads: Sequence[Load]) -> Load:
    """The medians of each figure."""
    return Load(*(statistics.median(getattr(load, name) for load in loads) for name in Load.__dataclass_fields__))


def run(target: Target, clients: int, seconds: float) -> Load:
    """Load a server. Raises WrongAnswerError at the first answer with another status."""
    taken, elapsed = uvloop.run(_run(target, clients, seconds))
    ordered = sorted(taken)
    percentiles = [1000 * ordered[int(len(ordered) * part)] for part in (0.5, 0.99)]
    return Load(len(taken) / elapsed, *percentiles)


def times(target: Target, clients: int, seconds: float) -> list[float]:
    """What each request of a load took, in seconds. Raises WrongAnswerError as `run` does."""
    return uvloop.run(_run(target, clients, seconds))[0]


async def _run(target: Target, clients: int, seconds: float) -> tuple[list[float], float]:
    address = urlsplit(target.url)
    host, port = str(address.hostname), int(address.port or 80)
    loop = asyncio.get_running_loop()
    state = _State(target, loop.create_future())
    started = time.perf_counter()
    opened = [await loop.create_connection(lambda: _Connection(state), host, port) for _ in range(clients)]
    await asyncio.wait([state.failure], timeout=seconds)
    elapsed = time.perf_counter() - started
    state.is_over = True
    for transport, _ in opened:
        transport.close()
    if state.failure.done():
        raise WrongAnswerError(f"{target.method} {target.url}: {state.failure.result()}")
    if not state.times:
        raise WrongAnswerError(f"{target.method} {target.url}: no answer within {seconds} s")
    return state.times, elapsed


@dataclass
class _State:
    target: Target
    failure: asyncio.Future[str]
    times: list[float] = field(default_factory=list)
    is_over: bool = False


class _Connection(asyncio.Protocol):
    """One client: sends the request again as soon as its answer is complete."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._message = state.target.message
        self._status = str(state.target.status).encode()
        self._has_body = state.target.method != "HEAD"
        self._received = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        if self._has_body:
            length = _LENGTH.search(self._received, 0, end + 2)
            if length is None:
                self._fail(self._received[:end].decode("latin-1"))
            elif len(self._received) < end + 4 + int(length[1]):
                return
        if self._received[9:12] != self._status:
            self._fail(self._received[:500].decode("latin-1"))
        if not self._state.is_over:
            self._state.times.append(time.perf_counter() - self._sent)
            self._received = b""
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._state.is_over:
            self._fail(f"the connection was closed ({exc})")

    def _fail(self, reason: str) -> None:
        if not self._state.failure.done():
            self._state.is_over = True
            self._state.failure.set_result(reason)
