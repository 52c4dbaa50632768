"""The collector's times: what the settings and a run's `time_window` make of them, and what they must exceed.

docs/gc.md ("Times") says why: the handshake alone keeps committed images whole, but promises to clients who are about
to push, and URLs that were handed out, last only as long as these.
"""

from __future__ import annotations

from chalicelib.gc.errors import TimesTooShortError
from chalicelib.gc.records import Times
from chalicelib.settings import Settings, settings

_REQUEST_SECONDS = 30
"""What API Gateway gives a request."""
_CACHED_SECONDS = 5
"""A pull's URL may be signed that long after the record was read (registry/blobs.py)."""
_FUNCTION_SECONDS = 900
"""The longest life of a Lambda: a sweep that was begun must be over before its edges are looked at again."""
_CLIENT_SECONDS = 3600
"""From a client's first HEAD or upload of a blob to its manifest, beyond the time that a candidate is not renewed."""


def window_floor(configured: Settings) -> int:
    """The shortest window, in seconds."""
    renewed = configured.candidate_renew_seconds + _CLIENT_SECONDS
    return max(configured.push_seconds, _FUNCTION_SECONDS, renewed)


def grace_floor(configured: Settings) -> int:
    """What the grace must exceed, in seconds."""
    return max(_REQUEST_SECONDS, configured.url_seconds + _CACHED_SECONDS)


def of(time_window: float | None) -> Times:
    """The times of a run, whose window may be given in hours; one that is too short is raised, as Harbor allows 0.

    Raises TimesTooShortError for a grace that is not allowed. With `gc_unsafe_times` anything goes: for tests only.
    """
    configured = settings()
    window = configured.gc_window_seconds if time_window is None else time_window * 3600
    if not configured.gc_unsafe_times:
        window = max(window, window_floor(configured))
        floor = grace_floor(configured)
        if configured.gc_grace_seconds <= floor:
            raise TimesTooShortError(
                f"BERTH_GC_GRACE_SECONDS is {configured.gc_grace_seconds}, and must exceed {floor}: "
                "a request and the life of a download URL (BERTH_URL_SECONDS)"
            )
    return Times(int(window * 1000), configured.gc_grace_seconds * 1000)
