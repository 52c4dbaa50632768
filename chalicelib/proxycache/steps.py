"""The steps of infra/statemachines/proxy-fill.asl.json: a lane of the blobs that a repository wants, one by one.

A step comes back before its function's time is over, with what is left. What cannot be had is told to those who wait,
and is no failure of the step's. A step that fails for good tells them that too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.events.records import JOBS
from chalicelib.observability import logger
from chalicelib.oci.errors import DigestInvalid, NameUnknown, QuotaExceeded, TooLarge
from chalicelib.projects import quota_events
from chalicelib.proxycache import filler
from chalicelib.proxycache.filler import Attempt, Outcome
from chalicelib.proxycache.filling import ASKED_SECONDS
from chalicelib.proxycache.store import fills as table
from chalicelib.proxycache.store.fills import Failure, FillRequest
from chalicelib.storage import reads
from chalicelib.storage.conditions import now
from chalicelib.upstreams.errors import (
    EndpointNotFoundError,
    UpstreamContentInvalid,
    UpstreamError,
    UpstreamNotFound,
    UpstreamRateLimited,
)

Event = Mapping[str, Any]

SLICE_SECONDS = 600.0
"""How long a step works before it comes back: Lambda ends it after 15 minutes, and verifying a blob may take long."""
_HELD_SECONDS, _LONGEST_HELD_SECONDS = 2, 10
"""How long a lane waits when all that it has left is being fetched by others, twice as long each time in a row.

An execution has 25,000 events at most (Step Functions quota), of which such a look is eleven; a holder that has died is
to be followed soon all the same.
"""

_AGAIN_SECONDS, _LONGEST_SECONDS = 2, 60
"""What could not be had is left alone for so long, twice as long each time in a row: it may be mended meanwhile."""
_WRONG_SECONDS, _LONGEST_WRONG_SECONDS = 30, 600
"""The same, for bytes that were wrong: all of them were fetched for nothing."""
_LONGEST_RETRY_AFTER = 600
"""How long an upstream that limits requests is left alone at most."""


def run(event: Event) -> dict[str, Any]:
    """The Lambda's whole work."""
    return _STEPS[event["step"]](event)


def _fill(event: Event) -> dict[str, Any]:
    """Fetch what a lane has, as far as the time goes. Returns what is left, and how long to wait before going on."""
    deadline = time.monotonic() + SLICE_SECONDS
    left: list[str] = []
    is_idle = True
    for digest in event["digests"]:
        wanted = FillRequest(event["repository"], event["registry"], digest)
        if time.monotonic() > deadline:
            outcome = Outcome.HALTED
        else:
            outcome = _fetch(Attempt(wanted, event["execution"], event["connections"], deadline))
        is_idle = is_idle and outcome is Outcome.HELD
        if outcome is not Outcome.DONE:
            left.append(digest)
    wait = min(max(_HELD_SECONDS, 2 * event["waited"]), _LONGEST_HELD_SECONDS) if is_idle else 0
    return {"digests": left, "wait": wait, "done": not left}


def _fetch(attempt: Attempt) -> Outcome:
    """One blob. It is done too when it cannot be had, and those who wait know."""
    wanted = attempt.wanted
    try:
        outcome = filler.fill(attempt)
    except (UpstreamError, EndpointNotFoundError, DigestInvalid, QuotaExceeded, TooLarge, NameUnknown) as error:
        failure = _failure(wanted.digest, error)
        logger.warning("blob not fetched", extra={"repository": wanted.repository, "reason": failure.message})
        if isinstance(error, QuotaExceeded):
            quota_events.tell_exceeded(JOBS, wanted.repository, error.message)
        _tell(wanted, attempt.execution, failure)
        return Outcome.DONE
    if outcome is Outcome.DONE:
        table.close(wanted)
    elif outcome is Outcome.HELD:
        table.renew(wanted, attempt.execution, now() + ASKED_SECONDS * 1000)
    return outcome


def _failure(digest: str, error: Exception) -> Failure:
    """What those who wait are told."""
    match error:
        case UpstreamNotFound():
            return Failure("unknown", f"upstream has no blob {digest}", _AGAIN_SECONDS)
        case UpstreamRateLimited():
            return Failure("limited", str(error), error.retry_after or _AGAIN_SECONDS)
        case QuotaExceeded():
            return Failure("denied", error.message, _AGAIN_SECONDS)
        case DigestInvalid() | UpstreamContentInvalid():
            return Failure("wrong", f"upstream sends other bytes than those of {digest}: {error}", _WRONG_SECONDS)
        case _:
            return Failure("failed", f"the blob {digest} cannot be fetched: {error}", _AGAIN_SECONDS)


def _tell(wanted: FillRequest, execution: str, failure: Failure) -> None:
    item = reads.get_item(table.request_key(wanted))
    failures = table.to_request(item).failures if item else 0
    if failure.kind == "limited":
        seconds = min(failure.retry_after, _LONGEST_RETRY_AFTER)
    else:
        longest = _LONGEST_WRONG_SECONDS if failure.kind == "wrong" else _LONGEST_SECONDS
        seconds = min(failure.retry_after * 2 ** min(failures, 10), longest)
    table.fail(wanted, execution, failure, now() + seconds * 1000)


def _fail(event: Event) -> dict[str, Any]:
    """Tell those who wait for what a lane has left that nobody is at it any more."""
    for digest in event["digests"]:
        wanted = FillRequest(event["repository"], event["registry"], digest)
        failure = Failure("failed", f"the blob {digest} cannot be fetched: an internal error", _AGAIN_SECONDS)
        _tell(wanted, event["execution"], failure)
    return {}


_STEPS: Mapping[str, Callable[[Event], dict[str, Any]]] = {"fill": _fill, "fail": _fail}
