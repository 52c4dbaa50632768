"""Requests that a browser sends with a session's cookie must be meant by the user, not made by another site.

As in Harbor (src/server/middleware/csrf, on gorilla/csrf): answers to a browser carry a token in `X-Harbor-CSRF-Token`
that belongs to the cookie `_gorilla_csrf`, and a request that changes something sends it back in the same header. The
token is signed, so no site can make one for a cookie that it plants; and what a browser says of where a request comes
from (`Origin`) must be this host. Requests with an Authorization header need none: no other site can send one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as randomness
from dataclasses import replace

from chalicelib.access import cookies, keys
from chalicelib.access.errors import ForgedError
from chalicelib.http import Request, Response

COOKIE = "_gorilla_csrf"
HEADER = "X-Harbor-CSRF-Token"

_AUDIENCE = "csrf"
_SECONDS = 12 * 3600
"""gorilla/csrf's."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_NAME = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def check(request: Request) -> None:
    """Return if `request` changes nothing, or carries the token. Raises ForgedError."""
    if request.method in _SAFE:
        return
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() != request.origin.lower():
        raise ForgedError("the request comes from another site")
    token = request.headers.get(HEADER.lower(), "")
    if not token:
        raise ForgedError("CSRF token not found in request")
    cookie = _cookie(request)
    try:
        expected = str(keys.verify(token, _AUDIENCE)["cookie"])
    except keys.TokenInvalidError as error:
        raise ForgedError("CSRF token invalid") from error
    if not cookie or not hmac.compare_digest(_digest(cookie), expected):
        raise ForgedError("CSRF token invalid")


def attach(request: Request, response: Response) -> Response:
    """`response` with a token for the browser's next request, and with the cookie if it has none yet."""
    present = _cookie(request)
    cookie = present or randomness.token_urlsafe(32)
    token = keys.sign({"cookie": _digest(cookie)}, _AUDIENCE, _SECONDS)
    fresh = () if present else (cookies.write(request, COOKIE, cookie, same_site="Strict", seconds=_SECONDS),)
    return replace(response, headers={**response.headers, HEADER: token}, cookies=response.cookies + fresh)


def _cookie(request: Request) -> str:
    value = cookies.read(request, COOKIE)
    return value if _NAME.match(value) else ""


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
