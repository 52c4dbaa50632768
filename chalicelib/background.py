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
from collections.abc import Callable
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


class Gathered(Generic[T]):
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
        with self._writing:
            with self._lock:
                taken = list(self._entries)
                self._entries.clear()
            if not taken:
                return
            self._last = time.time()
            try:
                left = self._write(taken)
            except Exception:
                # A fault of ours, which another try would repeat: what a busy store refuses, `write` returns.
                logger.exception("what requests left behind is lost", extra={"entries": len(taken)})
                return
            with self._lock:
                self._entries = deque([*left, *self._entries], maxlen=_LIMIT)


_gathered: list[Gathered[Any]] = []
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


def answered() -> None:
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
        if each.due_in() == 0:
            each.flush()


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
