"""What the answers of the API and of logins say to browsers, which hold what users have written and secrets besides."""

from __future__ import annotations

from dataclasses import replace

from chalicelib.http import Request, Response

_HEADERS = {
    # A chart's values or a model's licence is shown as what it is said to be, and runs nowhere.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    # Among them are robots' secrets, and what one user may see and the next may not.
    "Cache-Control": "no-store",
}
_OVER_TLS = {"Strict-Transport-Security": "max-age=31536000"}
"""Only there: a host that says so without is not believed (RFC 6797, section 7.2)."""


def attach(request: Request, response: Response) -> Response:
    """The response with these headers, but for what it says itself."""
    over_tls = _OVER_TLS if request.origin.startswith("https://") else {}
    return replace(response, headers={**_HEADERS, **over_tls, **response.headers})
