"""Receiving a blob's bytes from an upstream registry, whatever its connections do.

A connection that breaks, stalls or is refused for now is made again, from the byte that it came to, with growing
pauses; what comes counts against the project's bandwidth. What no other try can mend is raised as it is.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from chalicelib.proxycache.store import bandwidth
from chalicelib.upstreams.client import Body
from chalicelib.upstreams.errors import UpstreamContentInvalid, UpstreamError, UpstreamRateLimited, UpstreamUnreachable

T = TypeVar("T")
Open = Callable[[int, int | None], Body]
"""Asks for a blob from a byte up to and without another one."""

_TRIES = 6
_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_LONGEST_RETRY_AFTER = 20
"""Seconds that a connection waits when upstream says so; with a longer pause the client is answered at once."""
_PROGRESS = 1 << 20
"""Bytes after which a connection's failures are forgotten."""
_STALL_SECONDS, _STALL_BYTES = 30.0, 1 << 16
_BOOKED_SECONDS = 0.5
"""For how long bandwidth is booked at a time: so there are two writes a second, however many fills share it."""


class HaltedError(Exception):
    """Whoever receives is to stop, and another goes on: its time is over, or the blob is another's to fetch."""


@dataclass
class Span:
    """A place for the bytes of a blob from `start` on: `came` of them are there, whatever happens to the rest."""

    start: int
    view: memoryview
    came: int = 0

    @property
    def is_full(self) -> bool:
        return self.came == len(self.view)


class RateLimiter:
    """A project's bandwidth in bytes a second, which all connections of all its fills share; 0 is no limit."""

    def __init__(self, project_id: int, rate: int, halt: threading.Event) -> None:
        self._project_id, self._rate, self._halt = project_id, rate, halt
        self._left = 0.0
        """Bytes of what was booked last that are still to come."""
        self._over = 0.0
        """When that is over, of time.monotonic."""
        self._lock = threading.Lock()

    def spend(self, size: int) -> float:
        """Wait until `size` bytes more are within the bandwidth. Returns the seconds it took. Raises Unavailable."""
        if not self._rate:
            return 0.0
        with self._lock:
            self._left -= size
            if self._left < 0:
                booked = max(-self._left, self._rate * _BOOKED_SECONDS)
                self._over = time.monotonic() + bandwidth.book(self._project_id, booked / self._rate)
                self._left += booked
            pause = max(0.0, self._over - time.monotonic())
        self._halt.wait(pause)
        return pause


class Download:
    """Receives the bytes of one blob over connections that `opener` makes.

    Threads may share it. Methods raise HaltedError soon after `halt` is set, and UpstreamErrors.
    """

    def __init__(self, opener: Open, pace: RateLimiter, halt: threading.Event) -> None:
        self._open, self._pace, self._halt = opener, pace, halt
        self.total = -1
        """Bytes that the blob has, as upstream told first; -1 when it has not."""

    def begin(self, start: int, end: int) -> Body:
        """Ask for a part of the blob: what comes of it may be the whole."""
        tries = _Tries(self._halt)
        body = self._opened(tries, start, end)
        if body.status == 206 and body.total < 0:
            # A part of nobody says how much (RFC 9110, section 14.4): so nobody knows where ranges end.
            body.close()
            body = self._opened(tries, 0, None)
        self.total = body.total
        return body

    def whole(self, body: Body) -> bytes:
        """The content of a blob of which `body` is all."""
        if body.status == 206:
            return self.part(0, self.total, body)
        content, filled = bytearray(self.total), 0
        for chunk in self.stream(0, body):
            if filled + len(chunk) > self.total:
                raise UpstreamContentInvalid("upstream sends more of a blob than it said")
            content[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        return bytes(content)

    def part(self, start: int, end: int, body: Body) -> bytes:
        """The bytes from `start` up to `end`, for which `body` is the answer. No more than these are read."""
        if body.status == 206:
            content = bytearray(end - start)
            self.fill(Span(start, memoryview(content)), body)
            return bytes(content)
        found = bytearray()
        with closing(self.stream(start, body)) as chunks:
            for chunk in chunks:
                found += chunk[: end - start - len(found)]
                if len(found) == end - start:
                    break
        return bytes(found)

    def ask(self, question: Callable[[], T]) -> T:
        """What upstream answers to `question`, which is asked again as a connection is made again."""
        return _Tries(self._halt).answer(question)

    def fill(self, span: Span, body: Body | None = None) -> None:
        """Fill a span by ranges; `body` is what has been asked for already."""
        tries, view = _Tries(self._halt), span.view
        while not span.is_full:
            before = span.came
            try:
                body = body or self._open(span.start + span.came, span.start + len(view))
                with closing(body):
                    self._require_range(body)
                    for chunk in self._chunks(body):
                        if span.came + len(chunk) > len(view):
                            raise UpstreamContentInvalid("upstream sends more of a blob than it was asked for")
                        view[span.came : span.came + len(chunk)] = chunk
                        span.came += len(chunk)
                if not span.is_full:
                    raise UpstreamUnreachable("upstream sends less of a blob than it was asked for")
            except UpstreamError as error:
                tries.failed(error, span.came - before)
            body = None

    def stream(self, start: int, body: Body) -> Generator[memoryview]:
        """The bytes from `start` to the end, of an upstream that sends the blob from its first byte, always.

        What is skipped counts against the bandwidth too: it does come over the line.
        """
        tries, came = _Tries(self._halt), start
        while True:
            before = came
            try:
                with closing(body):
                    position = 0
                    for chunk in self._chunks(body):
                        known = max(0, min(came - position, len(chunk)))
                        position += len(chunk)
                        if known < len(chunk):
                            came = position
                            yield memoryview(chunk)[known:]
                if self.total < 0 or came == self.total:
                    return
                raise UpstreamUnreachable(f"the blob ends after {came} of {self.total} bytes")
            except UpstreamError as error:
                tries.failed(error, came - before)
            body = self._opened(tries, 0, None)
            if -1 not in (body.total, self.total) and body.total != self.total:
                body.close()
                raise UpstreamContentInvalid(f"the size of upstream's blob has changed: {body.total}, not {self.total}")

    def _opened(self, tries: _Tries, start: int, end: int | None) -> Body:
        return tries.answer(lambda: self._open(start, end))

    def _require_range(self, body: Body) -> None:
        if body.status != 206:
            raise UpstreamUnreachable("upstream sends a whole blob where it sent ranges before")
        if body.total not in (-1, self.total):
            raise UpstreamContentInvalid(f"the size of upstream's blob has changed: {body.total}, not {self.total}")

    def _chunks(self, body: Body) -> Iterator[bytes]:
        """What comes, at the pace that is allowed, as long as enough comes. What has come is given before a halt."""
        since, came = time.monotonic(), 0
        for chunk in body:
            yield chunk
            if self._halt.is_set():
                raise HaltedError
            came += len(chunk)
            since += self._pace.spend(len(chunk))
            if time.monotonic() - since > _STALL_SECONDS:
                if came < _STALL_BYTES:
                    raise UpstreamUnreachable("upstream sends next to nothing")
                since, came = time.monotonic(), 0


class _Tries:
    """The failures of one connection, in a row."""

    def __init__(self, halt: threading.Event) -> None:
        self._halt, self._count = halt, 0

    def answer(self, question: Callable[[], T]) -> T:
        while True:
            try:
                return question()
            except UpstreamError as error:
                self.failed(error, 0)

    def failed(self, error: UpstreamError, progress: int) -> None:
        """Wait before another try, after `progress` bytes came in the last one. Raises `error` when there is none."""
        self._count = 1 if progress >= _PROGRESS else self._count + 1
        if not isinstance(error, UpstreamUnreachable | UpstreamRateLimited) or self._count >= _TRIES:
            raise error
        pause = min(_PAUSE * 2**self._count, _LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311 -- jitter, not a secret
        if isinstance(error, UpstreamRateLimited) and error.retry_after is not None:
            if error.retry_after > _LONGEST_RETRY_AFTER:
                raise error
            pause = max(pause, error.retry_after)
        if self._halt.wait(pause):
            raise HaltedError
