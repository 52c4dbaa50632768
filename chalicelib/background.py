"""Work after the response: what requests leave behind is gathered here, and written later, many entries at once.

A process says once how its work gets done:

- `start_thread`, the local gateway: a thread writes what is due, and `finish` the rest when the gateway stops.
- `start_extension`, Lambda: a function is frozen once it has answered, unless an extension of its still has to ask
  for the next event. So this process registers one for itself (AWS: "Lambda Extensions API", internal extensions;
  Compute Blog, "Running code after returning a response from an AWS Lambda function"). It asks for the next event
  when what is due is written; the response has long left by then. Internal extensions get no SHUTDOWN event; the
  runtime gets SIGTERM instead, and 500 ms, in which the rest is written.
- neither: what is due is written by the request itself, before it answers.

What is gathered is lost only with a process that is killed, and then at most what its last minute left.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from http.client import HTTPConnection
from typing import Any, Generic, TypeVar

from chalicelib.observability import logger

T = TypeVar("T")

_SECONDS = 60.0
_LIMIT = 100_000
"""Entries kept while a store does not take them; the oldest go first then."""
_EXTENSION = "berth-background"
_API = "/2020-01-01/extension"
_LEAD_SECONDS = 0.02
"""The runtime sends the response in this time: our work would take the interpreter from it."""


class WriteBehindBuffer(Generic[T]):
    """Entries that `write` gets together: soon after the first, and then at most once in `seconds`.

    `write` returns those that it could not write, to be tried again later. Any thread may add.
    """

    def __init__(self, write: Callable[[list[T]], list[T]], seconds: float = _SECONDS) -> None:
        self._write, self._seconds = write, seconds
        self._entries: deque[T] = deque(maxlen=_LIMIT)
        self._last = 0.0
        self._lock, self._writing = threading.Lock(), threading.Lock()
        _gathered.append(self)

    def add(self, entry: T) -> None:
        with self._lock:
            self._entries.append(entry)
            is_first = len(self._entries) == 1
        if is_first:
            _changed.set()

    def due_in(self) -> float | None:
        """Seconds until entries should be written, None when there are none. By the wall clock: Lambda freezes."""
        return max(0.0, self._last + self._seconds - time.time()) if self._entries else None

    def flush(self) -> None:
        """Write all entries now; what another thread is writing is written when this returns."""
        self._write_out(self._take)

    def flush_due(self) -> None:
        """Write now what is due."""
        if self.due_in() == 0:
            self.flush()

    def _write_out(self, take: Callable[[], list[T]]) -> None:
        with self._writing:
            with self._lock:
                taken = take()
            if not taken:
                return
            try:
                left = self._write(taken)
            except Exception:
                # A fault of ours, which another try would repeat: what a busy store refuses, `write` returns.
                logger.exception("what requests left behind is lost", extra={"entries": len(taken)})
                return
            with self._lock:
                self._put_back(left)

    def _take(self) -> list[T]:
        taken = list(self._entries)
        self._entries.clear()
        self._last = time.time() if taken else self._last
        return taken

    def _put_back(self, left: list[T]) -> None:
        self._entries = deque([*left, *self._entries], maxlen=_LIMIT)


class WriteBehindBufferByKey(WriteBehindBuffer[T]):
    """As Gathered, but each key by itself: its first entry is written soon, those after it at most once in `seconds`.

    For what others decide by: of what nobody has written of for long, nothing waits in a process that may be frozen.
    """

    def __init__(
        self, write: Callable[[list[T]], list[T]], key: Callable[[T], Hashable], seconds: float = _SECONDS
    ) -> None:
        super().__init__(write, seconds)
        self._key = key
        self._written: dict[Hashable, float] = {}
        self._next: float | None = None
        """When the first of the entries is due: asked after each request, so it is kept."""

    def add(self, entry: T) -> None:
        with self._lock:
            self._entries.append(entry)
            self._expect(entry)
        _changed.set()

    def due_in(self) -> float | None:
        due = self._next
        return None if due is None else max(0.0, due - time.time())

    def flush_due(self) -> None:
        if self.due_in() == 0:
            self._write_out(self._take_due)

    def _take_due(self) -> list[T]:
        moment = time.time()
        due = [entry for entry in self._entries if self._due_at(entry) <= moment]
        self._replace(entry for entry in self._entries if self._due_at(entry) > moment)
        self._note(due, moment)
        return due

    def _take(self) -> list[T]:
        taken = super()._take()
        self._next = None
        self._note(taken, time.time())
        return taken

    def _put_back(self, left: list[T]) -> None:
        self._replace([*left, *self._entries])

    def _replace(self, entries: Iterable[T]) -> None:
        self._entries = deque(entries, maxlen=_LIMIT)
        self._next = None
        for entry in self._entries:
            self._expect(entry)

    def _expect(self, entry: T) -> None:
        due = self._due_at(entry)
        self._next = due if self._next is None else min(self._next, due)

    def _due_at(self, entry: T) -> float:
        return self._written.get(self._key(entry), 0.0) + self._seconds

    def _note(self, taken: list[T], moment: float) -> None:
        """Remember which keys are written now, and forget those that were before the time in which it matters."""
        self._written = {key: last for key, last in self._written.items() if last + self._seconds > moment}
        self._written |= {self._key(entry): moment for entry in taken}


_gathered: list[WriteBehindBuffer[Any]] = []
_changed = threading.Event()
_answered = threading.Semaphore(0)


def start_thread() -> None:
    """Write what is due in a thread of this process, which has to call `finish` before it ends."""
    _set_after(_nothing)
    threading.Thread(target=_run, name="background", daemon=True).start()


def start_extension() -> None:
    """Register this process's extension. Lambda takes it only while it initialises the process.

    Raises OSError when Lambda refuses, which ends the initialisation.
    """
    api = os.environ["AWS_LAMBDA_RUNTIME_API"]
    connection = HTTPConnection(api)
    events, name = json.dumps({"events": ["INVOKE"]}), {"Lambda-Extension-Name": _EXTENSION}
    connection.request("POST", f"{_API}/register", events, name)
    answer = connection.getresponse()
    told = answer.read()
    if answer.status != 200:
        raise OSError(f"Lambda refused the extension: {answer.status} {told[:200]!r}")
    _set_after(_answered.release)
    identifier = answer.headers["Lambda-Extension-Identifier"]
    threading.Thread(target=_follow, args=(connection, identifier), name="extension", daemon=True).start()
    _finish_on_sigterm()


def response_sent() -> None:
    """To be called when a request has its answer, just before that leaves."""
    _after()


def finish() -> None:
    """Write everything now: the process is about to end."""
    for each in _gathered:
        each.flush()


def _set_after(after: Callable[[], None]) -> None:
    global _after  # noqa: PLW0603 -- said once, when the process starts
    _after = after


def _nothing() -> None:
    """A thread of its own does the work."""


def _write_due() -> None:
    for each in _gathered:
        each.flush_due()


_after: Callable[[], None] = _write_due


def _next_due() -> float | None:
    return min((due for each in _gathered if (due := each.due_in()) is not None), default=None)


def _run() -> None:
    while True:
        _changed.clear()
        if (due := _next_due()) == 0:
            _write_due()
        else:
            _changed.wait(due)


def _follow(connection: HTTPConnection, identifier: str) -> None:
    """Ask for one event after the other, each when the one before has been answered and what was due is written."""
    try:
        while True:
            connection.request("GET", f"{_API}/event/next", headers={"Lambda-Extension-Identifier": identifier})
            connection.getresponse().read()
            _answered.acquire()
            if _next_due() == 0:
                time.sleep(_LEAD_SECONDS)
                _write_due()
    except BaseException:
        # Lambda would wait for this extension at each request, until the request's time is over.
        logger.exception("the extension failed")
        os._exit(1)


def _finish_on_sigterm() -> None:
    """Write what is left when Lambda ends the process.

    Python runs a signal's handler in the main thread, which may be waiting for the next event inside of C code. So a
    thread is woken by what the interpreter writes to a pipe on a signal, whatever the main thread does.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)

    def wait() -> None:
        while signal.SIGTERM not in os.read(reader, 64):
            pass
        finish()
        os._exit(0)

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
