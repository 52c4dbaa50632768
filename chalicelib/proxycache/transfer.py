"""A large blob from an upstream registry into an upload: ranges side by side, hashed in order, stored as parts.

Some connections fetch a piece at a time, always the next one that nobody has; a buffer whose pieces have all come is a
part, and goes to S3 while the next ones fill. So memory is bounded, and of a blob that breaks off all is there up to
the first gap: whoever goes on begins where the upload stands. An upstream without ranges is read by one connection.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

from chalicelib.proxycache.reception import HaltedError, Reception
from chalicelib.proxycache.upstream import Body
from chalicelib.registry.buffers import Buffers
from chalicelib.registry.errors import TooLarge
from chalicelib.registry.upload_writer import Writer
from chalicelib.storage.uploads import Session

PIECE = 8 << 20
"""Bytes that a connection asks for at a time: long enough that asking costs little, even far away."""
_WHOLE = 64 << 20
"""Bytes of a blob that becomes an object in one piece: starting and ending a multipart upload takes longer."""
LARGEST = 64 << 30
"""Bytes that a blob may have. Parts of larger ones outgrow the buffers (upload_writer.part_size)."""

_SENDERS = 2
"""Parts that are on their way to S3 while the next ones fill."""
_SPARE = 2
"""Buffers for parts that have come, and wait for an earlier one."""
_LOOK_SECONDS = 0.5
"""How often who waits for a buffer looks whether it is to stop."""


@dataclass
class _Part:
    """A buffer for `size` bytes of the blob from `start` on; `missing` of them are still to come."""

    index: int
    start: int
    size: int
    buffer: bytearray
    missing: int

    @property
    def content(self) -> memoryview:
        return memoryview(self.buffer)[: self.size]


@dataclass(frozen=True)
class _Piece:
    """The bytes of a part from `first` up to and without `end`."""

    part: _Part
    first: int
    end: int


Send = Callable[[_Part], None]


class Transfer:
    """One attempt to bring a blob, from byte `start` on, into the upload that `writer` writes to.

    What came is recorded before anything is raised: HaltedError soon after `halt` is set, UpstreamErrors, and what a
    Writer raises. A failure sets `halt` too.
    """

    def __init__(
        self, reception: Reception, writer: Writer, start: int, connections: int, halt: threading.Event
    ) -> None:
        self._reception, self._writer, self._start = reception, writer, start
        self._connections, self._halt = connections, halt
        self._failures: list[BaseException] = []
        self._is_cut = False
        filling = -(-connections * PIECE // writer.buffer_size(0))
        self._buffers = Buffers(filling + _SENDERS + _SPARE)

    def by_ranges(self, total: int, digest: str, first: Body) -> Session:
        """Fetch a blob of `total` bytes, and mark the upload as completed. `first` is the first PIECE of it."""
        pieces = _Pieces(self._start, total, self._part)
        with self._sending() as send, ThreadPoolExecutor(self._connections) as fetchers:
            for body in (first, *[None] * (self._connections - 1)):
                if piece := pieces.take():
                    fetchers.submit(self._guarded, self._fetch, pieces, piece, body, send)
        return self._writer.finish(pieces.last.index, pieces.last.content, digest)

    def by_stream(self, digest: str, whole: Body) -> Session:
        """As `by_ranges`, of an upstream that sends all of a blob, of whatever size, when it is asked for a part."""
        with self._sending() as send:
            part, filled = self._part(0, self._start, LARGEST), 0
            for arrived in self._reception.stream(self._start, whole):
                chunk = arrived
                while chunk:
                    if filled == part.size:
                        send(part)
                        part, filled = self._part(part.index + 1, part.start + part.size, LARGEST), 0
                    size = min(len(chunk), part.size - filled)
                    part.content[filled : filled + size] = chunk[:size]
                    chunk, filled = chunk[size:], filled + size
        return self._writer.finish(part.index, part.content[:filled], digest)

    def _fetch(self, pieces: _Pieces, piece: _Piece | None, body: Body | None, send: Send) -> None:
        """What one connection does: fetch pieces until there are none left."""
        while piece is not None and not self._halt.is_set():
            self._reception.fill(piece.part.content[piece.first : piece.end], piece.part.start + piece.first, body)
            pieces.arrived(piece, send)
            piece, body = pieces.take(), None

    def _part(self, index: int, start: int, total: int) -> _Part:
        """A part with a buffer, as soon as there is one. Raises HaltedError if all is to stop before, or TooLarge."""
        size = min(self._writer.buffer_size(index) if total > _WHOLE or start else total, total - start)
        if size <= 0:
            raise TooLarge(f"the blob has more than {LARGEST} bytes, which is too many for a proxy cache")
        while not self._halt.is_set():
            if buffer := self._buffers.offer(size, _LOOK_SECONDS):
                return _Part(index, start, size, buffer, size)
        raise HaltedError

    @contextmanager
    def _sending(self) -> Iterator[Send]:
        """Gives what sends a part to S3, in their order; raises when one did not arrive, or all is to stop."""
        sent: list[Future[None]] = []
        with ThreadPoolExecutor(_SENDERS) as senders:
            try:
                yield lambda part: sent.append(senders.submit(self._guarded, self._send, part))
                wait(sent)
                if self._failures:
                    raise self._failures[0]
                if self._halt.is_set():
                    raise HaltedError
            except Exception:
                self._halt.set()
                wait(sent)
                self._record(len(sent))
                raise

    def _record(self, sent: int) -> None:
        """Write down how far the upload has come."""
        if self._is_cut:
            self._writer.keep()
        else:
            self._writer.append(sent, b"")

    def _send(self, part: _Part) -> None:
        try:
            self._writer.send(part.index, part.content)
        except BaseException:
            self._is_cut = True
            raise
        finally:
            self._buffers.give(part.buffer)

    def _guarded(self, work: Callable[..., None], *arguments: object) -> None:
        """Do what a thread does; what it raises stops the others, and is raised when they have stopped."""
        try:
            work(*arguments)
        except BaseException as error:
            self._failures.append(error)
            self._halt.set()


class _Pieces:
    """What is to be fetched of a blob, from `start` on: handed out in order to several threads."""

    def __init__(self, start: int, total: int, make: Callable[[int, int, int], _Part]) -> None:
        self._total, self._make = total, make
        self._taking, self._arriving = threading.Lock(), threading.Lock()
        self.last = make(0, start, total)
        """The part that is handed out."""
        self._handed = 0
        self._filling = deque([self.last])

    def take(self) -> _Piece | None:
        """The next piece; None when all are handed out."""
        with self._taking:
            part = self.last
            if self._handed == part.size:
                behind = part.start + part.size
                if behind == self._total:
                    return None
                part, self._handed = self._make(part.index + 1, behind, self._total), 0
                self._filling.append(part)
                self.last = part
            first, self._handed = self._handed, min(self._handed + PIECE, part.size)
            return _Piece(part, first, self._handed)

    def arrived(self, piece: _Piece, send: Send) -> None:
        """A piece has come. Sends the parts that are whole with it, in order, but for the last one of the blob."""
        with self._arriving:
            piece.part.missing -= piece.end - piece.first
            while self._filling and not self._filling[0].missing:
                part = self._filling[0]
                if part.start + part.size == self._total:
                    return
                send(self._filling.popleft())
