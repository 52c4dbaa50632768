"""Cookies: those that a request brings, and those that an answer sets."""

from __future__ import annotations

from chalicelib.http import Request

_LIMIT = 8192
"""Characters of the header that are looked at (API Gateway allows 10,240 bytes for all headers)."""


def read(request: Request, name: str) -> str:
    """The cookie's value; empty when there is none. Of several with the name the first, as browsers order them."""
    for part in request.headers.get("cookie", "")[:_LIMIT].split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value.strip('"')
    return ""


def write(request: Request, name: str, value: str, *, same_site: str = "Lax", seconds: int | None = None) -> str:
    """A `Set-Cookie` for the whole host that no script reads; without `seconds`, until the browser is closed."""
    secure = "; Secure" if request.origin.startswith("https://") else ""
    age = "" if seconds is None else f"; Max-Age={seconds}"
    return f"{name}={value}; Path=/; HttpOnly; SameSite={same_site}{secure}{age}"


def clear(request: Request, name: str) -> str:
    return write(request, name, "", seconds=0)
