"""Sessions of the console: who a browser logged in as, by the cookie `sid`, until it logs out or rests for too long.

A session is void when the user is deleted, and when the password changes. Of users who log in by OIDC the password is
the provider's: their sessions end when an administrator sets the secret of their command lines.
"""

from __future__ import annotations

import re
import secrets as randomness
import time

from chalicelib.access import accounts, configuration, cookies, csrf
from chalicelib.access.accounts import Account
from chalicelib.access.authentication import ANONYMOUS, Caller, authenticate, caller_of
from chalicelib.access.store import sessions as table
from chalicelib.http import Request

COOKIE = "sid"

_KIND = "login"
_NAME = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_EXTEND_SECONDS = 60
"""A session that is used is given its full time again, not more often than this."""


def begin(request: Request, account: Account) -> str:
    """Log a browser in, under a name that nobody had before; returns the cookie to set."""
    name = randomness.token_urlsafe(32)
    content = {"username": account.username, "number": account.number, "stamp": account.session_stamp}
    table.create(name, _KIND, content, _seconds())
    return cookies.write(request, COOKIE, name)


def end(request: Request) -> str:
    """Log a browser out; returns the cookie that makes it forget."""
    name = _name(request)
    if name:
        table.delete(name, _KIND)
    return cookies.clear(request, COOKIE)


def is_carried(request: Request) -> bool:
    """Whether a browser's session is what the request relies on."""
    return "authorization" not in request.headers and bool(_name(request))


def authenticate_browser(request: Request) -> Caller:
    """Who sends a request: by an Authorization header, if it has one, else by a session, else nobody.

    Raises Unauthorized for wrong credentials, and ForgedError when a request with a session may be another site's.
    """
    if not is_carried(request):
        return authenticate(request)
    account = find(request)
    if account is None:
        return ANONYMOUS
    csrf.check(request)
    return caller_of(account)


def find(request: Request) -> Account | None:
    """The account of the session that a request carries: one read, and the account's own when it is not cached."""
    name = _name(request)
    found = table.read(name, _KIND) if name else None
    if found is None:
        return None
    content, expires = found
    account = accounts.find(content["username"])
    if account is None or (account.number, account.session_stamp) != (content["number"], content["stamp"]):
        return None
    if expires - time.time() < _seconds() - _EXTEND_SECONDS:
        table.extend(name, _KIND, _seconds())
    return account


def _seconds() -> int:
    return configuration.current().session_timeout * 60


def _name(request: Request) -> str:
    value = cookies.read(request, COOKIE)
    return value if _NAME.match(value) else ""
