"""Asking an upstream registry: once for all who ask the same at the same time, in this process or in another.

Docker Hub counts requests, and a thousand nodes may pull one tag at once. So a question (what does this tag stand for?
which tags are there?) is put by whoever takes its turn, for a bounded time; the others wait for that reply. A reply is
good for a few seconds (BERTH_PROXY_FRESH_SECONDS), in the process without any call unless it is long. That a registry
does not answer is a reply too, and that it limits requests is one for as long as it says, so that nobody runs against
it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from chalicelib import retrying
from chalicelib.oci.errors import (
    ManifestUnknown,
    QuotaExceeded,
    RegistryError,
    TooManyRequests,
    Unavailable,
    UpstreamFailed,
)
from chalicelib.proxycache.store import replies as table
from chalicelib.proxycache.store.replies import CachedReply
from chalicelib.settings import settings
from chalicelib.storage.conditions import now
from chalicelib.timed_cache import TimedCache
from chalicelib.upstreams.errors import (
    ConnectionsTaken,
    UpstreamContentInvalid,
    UpstreamError,
    UpstreamHidden,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamUnauthorized,
)

UNKNOWN, LIMITED, REFUSED, WRONG, UNREACHABLE = "unknown", "limited", "refused", "wrong", "unreachable"
HIDDEN = "hidden"
"""Docker Hub, GHCR and others refuse what does not exist as they refuse what these credentials may not see."""
FULL = "full"
"""Not upstream's doing: the project has no room for what it sent, and is not to ask for it again and again."""

TURN_SECONDS = 21.0
"""How long an asker may take: a HEAD and a GET of 10 seconds each. Another asks when it has died meanwhile."""
_WAIT_SECONDS = 24.0
"""How long the others wait: inside the gateway's 30 seconds."""
_LONGEST_LIMIT = 60
"""Seconds of a Retry-After that are kept to: upstream may let us in earlier than it said."""
_KEPT_SECONDS = 7 * 86_400
"""How long the last content is kept, for when upstream is out of reach (Harbor: a week, repoproxy/proxy.go)."""
_SMALL = 16 * 1024
"""Bytes of a reply that a process keeps. A longer list is read from the table, as any project's is."""

Question = tuple[str, str]
"""The origin of a repository (sources.py), and what is asked of it."""


@dataclass(frozen=True)
class Reply:
    """What upstream said: `content`, or why there is none. With an error, `content` is what it said before, if ever."""

    content: Mapping[str, Any] | None
    error: str = ""
    """UNKNOWN, LIMITED, REFUSED, HIDDEN, WRONG, UNREACHABLE or FULL; empty when there is none."""
    message: str = ""
    retry_at: int = 0
    """With LIMITED: until when it is good, in milliseconds since 1970."""


_KINDS: Mapping[type[Exception], str] = {
    UpstreamNotFound: UNKNOWN,
    UpstreamHidden: HIDDEN,
    UpstreamUnauthorized: REFUSED,
    UpstreamContentInvalid: WRONG,
    QuotaExceeded: FULL,
}

_replies: TimedCache[Question, Reply] = TimedCache(1024)
_flights: dict[Question, Future[Reply]] = {}
_lock = threading.Lock()


def ask(origin: str, question: str, put: Callable[[], Mapping[str, Any]], fresh_seconds: float) -> Reply:
    """The reply to `question`, at most `fresh_seconds` old: another's, or what `put` returns.

    What `put` raises as an UpstreamError or QuotaExceeded is a reply; anything else is raised, to those who wait in
    this process too. Raises Unavailable when somebody asks and does not come to an end.
    """
    key = (origin, question)
    known = _replies.get(key)
    if known is not None:
        return known[0]
    with _lock:
        flight = _flights.get(key)
        if is_first := flight is None:
            flight = _flights[key] = Future()
    if not is_first:
        return flight.result(timeout=_WAIT_SECONDS + TURN_SECONDS)
    try:
        reply, seconds = _ask(key, put, fresh_seconds)
    except BaseException as error:
        flight.set_exception(error)
        raise
    else:
        if seconds > 0:
            _replies.put(key, reply, seconds)
        flight.set_result(reply)
        return reply
    finally:
        with _lock:
            del _flights[key]


def refusal(reply: Reply, what: str) -> RegistryError:
    """What a client is told when there is no local copy of `what` either."""
    if reply.error == UNKNOWN:
        return ManifestUnknown(f"the upstream registry has no {what}")
    if reply.error == HIDDEN:
        return ManifestUnknown(hidden(reply, what))
    if reply.error == FULL:
        return QuotaExceeded(reply.message)
    if reply.error == LIMITED:
        headers = {"Retry-After": str(max(1, math.ceil((reply.retry_at - now()) / 1000)))}
        return TooManyRequests(f"{reply.message}; there is no local copy of {what}", headers=headers)
    return UpstreamFailed(f"{reply.message}; there is no local copy of {what}")


def hidden(reply: Reply, what: str) -> str:
    """What a client is told of `what` with HIDDEN, by whatever code its route has for a 404."""
    return f"{what} does not exist upstream, or is hidden from these credentials: {reply.message}"


def _ask(key: Question, put: Callable[[], Mapping[str, Any]], fresh_seconds: float) -> tuple[Reply, float]:
    """The reply, and for how many seconds this process may keep it."""
    deadline = time.monotonic() + _WAIT_SECONDS
    asked = before = table.read(*key)
    pauses = retrying.pauses(0.1, 1.0, growth=1.5)
    while True:
        good_for = (asked.fresh_until - now()) / 1000
        if asked.reply is not None and (good_for > 0 or asked.version != before.version):
            return Reply(**asked.reply), _kept(good_for, asked.size)
        if asked.turn_until < now():
            turn = table.acquire_refresh(*key, asked, TURN_SECONDS)
            if turn:
                return _take(key, turn, put, asked, fresh_seconds)
        elif time.monotonic() > deadline:
            raise Unavailable("another request is asking the upstream registry, and gets no answer")
        time.sleep(next(pauses))
        asked = table.read(*key)


def _take(
    key: Question, turn: str, put: Callable[[], Mapping[str, Any]], asked: CachedReply, fresh_seconds: float
) -> tuple[Reply, float]:
    last = asked.reply["content"] if asked.reply is not None else None
    try:
        reply, seconds = _put(put, last, fresh_seconds)
    except BaseException:
        table.release_refresh(*key, turn)
        raise
    size = table.write(*key, turn, vars(reply), seconds, _KEPT_SECONDS)
    return reply, _kept(seconds, size)


def _kept(seconds: float, size: int) -> float:
    return seconds if size <= _SMALL else 0


def _put(
    put: Callable[[], Mapping[str, Any]], last: Mapping[str, Any] | None, fresh_seconds: float
) -> tuple[Reply, float]:
    """The reply, and for how many seconds it is good."""
    least = settings().proxy_fresh_seconds
    try:
        return Reply(put()), fresh_seconds
    except UpstreamRateLimited as error:
        pause = max(1, min(least if error.retry_after is None else error.retry_after, _LONGEST_LIMIT))
        # Our own limit may be out of the way a moment later, and costs upstream nothing.
        seconds = pause if isinstance(error, ConnectionsTaken) else max(least, pause)
        return Reply(last, LIMITED, str(error), now() + seconds * 1000), seconds
    except (UpstreamError, QuotaExceeded) as error:
        return Reply(last, _KINDS.get(type(error), UNREACHABLE), str(error)), least
