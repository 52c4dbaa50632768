"""What the answers of upstream registries, and of their token services, mean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from chalicelib.upstreams.errors import UpstreamNotFound, UpstreamRateLimited, UpstreamUnauthorized, UpstreamUnreachable

_LONGEST_PAUSE = 24 * 3600


def require_success(status: int, headers: Mapping[str, str], who: str) -> None:
    """Return for 2xx. Raises the UpstreamError that any other status stands for, in a text that names `who`."""
    if 200 <= status < 300:
        return
    if status == 404:
        raise UpstreamNotFound(f"{who} answers 404")
    if status == 429:
        raise UpstreamRateLimited(f"{who} answers 429: too many requests", retry_after(headers.get("retry-after", "")))
    if status in (401, 403):
        raise UpstreamUnauthorized(f"{who} answers {status}: the credentials are wrong, or not enough")
    if 300 <= status < 400:
        raise UpstreamUnreachable(f"{who} redirects too often, or nowhere")
    raise UpstreamUnreachable(f"{who} answers {status}")


def retry_after(text: str) -> int | None:
    """The seconds that a Retry-After header asks for (RFC 9110, section 10.2.3); None for no header that says it."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _LONGEST_PAUSE)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0, min(round(moment - time.time()), _LONGEST_PAUSE))
