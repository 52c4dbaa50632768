"""A large blob from an upstream registry into an upload: ranges side by side, hashed in order, stored as parts.

Some connections fetch a piece at a time, always the next one that nobody has; a buffer whose pieces have all come is a
part, and goes to S3 while the next ones fill. So memory is bounded, and of a blob that breaks off all is kept up to
the first gap, be it in the middle of a piece: whoever goes on begins where the upload stands. An upstream without
ranges is read by one connection.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from chalicelib.oci.errors import TooLarge
from chalicelib.proxycache.reception import Download, HaltedError, Span
from chalicelib.registry.buffers import Buffers
from chalicelib.registry.store.uploads import Session
from chalicelib.registry.upload_writer import Writer
from chalicelib.upstreams.client import Body

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
"""How often a thread that waits for a buffer looks whether it is to stop."""
_LEAST_GROWTH = 8
"""Of what is read again without ranges, the share that has to come anew: else each attempt ends where the last did."""


@dataclass
class _Part:
    """A buffer for `size` bytes of the blob from `start` on; `missing` of them are still to come.

    The first `head` are those of the upload's tail. `spans` are the places, in order, for what follows on them.
    """

    index: int
    start: int
    size: int
    buffer: bytearray
    head: int
    missing: int
    spans: list[Span] = field(default_factory=list)

    @property
    def content(self) -> memoryview:
        return memoryview(self.buffer)[: self.size]

    def span(self, first: int, end: int) -> Span:
        """The place for the bytes of the part from `first` up to and without `end`, which follow on the last span's."""
        span = Span(self.start + first, self.content[first:end])
        self.spans.append(span)
        return span

    @property
    def came(self) -> int:
        """How many bytes have come, without a gap, after the head."""
        count = 0
        for span in self.spans:
            count += span.came
            if not span.is_full:
                break
        return count


@dataclass(frozen=True)
class _Piece:
    """A span of a part that one connection fetches."""

    part: _Part
    span: Span


Send = Callable[[_Part], None]


class Transfer:
    """One attempt to bring a blob, from byte `start` on, into the upload that `writer` writes to, which stands there.

    What came is recorded before anything is raised: HaltedError soon after `halt` is set, UpstreamErrors, and what a
    Writer raises. A failure sets `halt` too.
    """

    def __init__(
        self, reception: Download, writer: Writer, start: int, connections: int, halt: threading.Event
    ) -> None:
        self._reception, self._writer, self._start = reception, writer, start
        self._connections, self._halt = connections, halt
        self._failures: list[BaseException] = []
        self._is_cut = False
        self._offset = start
        """Where the upload stands after a halt."""
        self._read_again = 0
        self._filling: deque[_Part] = deque()
        """The parts that have not been sent yet, in order."""
        filling = -(-connections * PIECE // writer.buffer_size(0))
        self._buffers = Buffers(filling + _SENDERS + _SPARE)

    def by_ranges(self, total: int, digest: str, first: Body) -> Session:
        """Fetch a blob of `total` bytes, and mark the upload as completed. `first` is the first PIECE of it."""
        pieces = _Pieces(self._begin(total), total, self._part, self._filling)
        with self._sending() as send, ThreadPoolExecutor(self._connections) as fetchers:
            for body in (first, *[None] * (self._connections - 1)):
                if piece := pieces.take():
                    fetchers.submit(self._guarded, self._fetch, pieces, piece, body, send)
        return self._writer.finish(pieces.last.index, pieces.last.content, digest)

    def by_stream(self, digest: str, whole: Body) -> Session:
        """As `by_ranges`, of an upstream that sends all of a blob, of whatever size, when it is asked for a part."""
        self._read_again = self._start
        with self._sending() as send:
            part = self._begin(LARGEST)
            span = part.span(part.head, part.size)
            for arrived in self._reception.stream(self._start, whole):
                chunk = arrived
                while chunk:
                    if span.is_full:
                        send(self._filling.popleft())
                        part = self._part(part.index + 1, part.start + part.size, LARGEST)
                        span = part.span(0, part.size)
                    size = min(len(chunk), len(span.view) - span.came)
                    span.view[span.came : span.came + size] = chunk[:size]
                    chunk, span.came = chunk[size:], span.came + size
        return self._writer.finish(part.index, part.content[: part.head + span.came], digest)

    @property
    def is_stuck(self) -> bool:
        """Whether an attempt that was halted came on so little that more of them would hardly ever bring the blob."""
        return self._offset - self._start <= self._read_again // _LEAST_GROWTH

    def _fetch(self, pieces: _Pieces, piece: _Piece | None, body: Body | None, send: Send) -> None:
        """What one connection does: fetch pieces until there are none left."""
        while piece is not None and not self._halt.is_set():
            self._reception.fill(piece.span, body)
            pieces.arrived(piece, send)
            piece, body = pieces.take(), None

    def _begin(self, total: int) -> _Part:
        """The first part, which begins with the upload's tail."""
        head = self._writer.head()
        part = self._part(0, self._start - len(head), total, len(head))
        part.content[: len(head)] = head
        return part

    def _part(self, index: int, start: int, total: int, head: int = 0) -> _Part:
        """A part with a buffer, as soon as there is one. Raises HaltedError if all is to stop before, or TooLarge."""
        is_whole = total <= _WHOLE and not index and not self._start
        size = min(total if is_whole else self._writer.buffer_size(index), total - start)
        if size <= 0:
            raise TooLarge(f"the blob has more than {LARGEST} bytes, which is too many for a proxy cache")
        while not self._halt.is_set():
            if buffer := self._buffers.offer(size, _LOOK_SECONDS):
                part = _Part(index, start, size, buffer, head, size - head)
                self._filling.append(part)
                return part
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
        """Write down how far the upload has come: the last byte is left out, so that there is one to ask for."""
        if self._is_cut:
            self._writer.keep()
            return
        part = self._filling[0] if self._filling else None
        rest = part.content[: part.head + part.came - 1] if part and part.came > 1 else memoryview(b"")
        index = sent
        while len(rest) >= (size := self._writer.buffer_size(index)):  # of a blob that was to become a whole object
            self._writer.send(index, rest[:size])
            rest, index = rest[size:], index + 1
        self._offset = self._writer.append(index, rest).offset

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
    """What is to be fetched of a blob, from the part `first` on: handed out in order to several threads.

    `make` adds the parts that follow to `filling`, of which those that are whole are taken.
    """

    def __init__(self, first: _Part, total: int, make: Callable[[int, int, int], _Part], filling: deque[_Part]) -> None:
        self._total, self._make, self._filling = total, make, filling
        self._taking, self._arriving = threading.Lock(), threading.Lock()
        self.last = first
        """The part that is handed out."""
        self._handed = first.head

    def take(self) -> _Piece | None:
        """The next piece; None when all are handed out."""
        with self._taking:
            part = self.last
            if self._handed == part.size:
                behind = part.start + part.size
                if behind == self._total:
                    return None
                part, self._handed = self._make(part.index + 1, behind, self._total), 0
                self.last = part
            first, self._handed = self._handed, min(self._handed + PIECE, part.size)
            return _Piece(part, part.span(first, self._handed))

    def arrived(self, piece: _Piece, send: Send) -> None:
        """A piece has come. Sends the parts that are whole with it, in order, but for the last one of the blob."""
        with self._arriving:
            piece.part.missing -= len(piece.span.view)
            while self._filling and not self._filling[0].missing:
                part = self._filling[0]
                if part.start + part.size == self._total:
                    return
                send(self._filling.popleft())
