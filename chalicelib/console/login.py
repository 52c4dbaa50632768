"""Logging in and out with a browser, at Harbor's paths (src/core/controllers/base.go, oidc.go).

Failures have the form of the API's. What changes something needs a CSRF token, the login too: another site must not
log a browser in as somebody else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs

from chalicelib.access import accounts, configuration, csrf, sessions, users
from chalicelib.api import browser_headers
from chalicelib.api.errors import (
    ApiError,
    BadRequestError,
    MethodNotAllowedError,
    NotFoundError,
    UnauthorizedError,
    to_response,
)
from chalicelib.domain_errors import DomainError
from chalicelib.events import store as audit
from chalicelib.events.records import Actor
from chalicelib.http import Request, Response
from chalicelib.observability import observed
from chalicelib.oci.errors import RegistryError, Unavailable
from chalicelib.storage.conditions import is_transient

_BODY_LIMIT = 64 * 1024
_OIDC_LOGIN = "/c/oidc/login"

Handler = Callable[[Request], Response]


@observed
def handle(request: Request) -> Response:
    """Answer one request below `/c`."""
    try:
        response = csrf.attach(request, _answer(request))
    except RegistryError as error:
        response = to_response(error)
    return browser_headers.attach(request, response)


def _answer(request: Request) -> Response:
    try:
        handlers = _HANDLERS.get(request.path)
        if handlers is None:
            raise NotFoundError("there is nothing here")
        handler = handlers.get(request.method)
        if handler is None:
            raise MethodNotAllowedError(f"{request.method} is not defined for this path")
        csrf.check(request)
        return handler(request)
    except (ApiError, DomainError, RegistryError) as error:
        return to_response(error)
    except Exception as error:
        if not is_transient(error):
            raise
        return to_response(Unavailable("a store is busy"))


def _login(request: Request) -> Response:
    """Begin a session by name and password. Who logs in by OIDC is told where, with 403, as in Harbor."""
    form = _form(request)
    name, password = form.get("principal", ""), form.get("password", "")
    if _is_external(name):
        location = {"redirect_location": f"{request.origin}{_OIDC_LOGIN}"}
        return Response(403, {"Content-Type": "application/json"}, json.dumps(location).encode())
    account = accounts.verify(name, password, request.address)
    if account is None or account.robot is not None or account.is_external:
        # Harbor logs the wrong logins to its console too; how many there can be is for the throttling to say.
        tried = name[: accounts.NAME_LENGTH]
        audit.write(replace(users.event("login", tried, Actor(tried, request.address)), is_successful=False))
        raise UnauthorizedError("the user name or the password is wrong")
    audit.write(users.event("login", account.username, Actor(account.username, request.address)))
    return Response(200, cookies=(sessions.begin(request, account),))


def _is_external(name: str) -> bool:
    if configuration.current().auth_mode != configuration.OIDC_AUTH or not 1 <= len(name) <= accounts.NAME_LENGTH:
        return False
    user = users.find(name)
    return user is None or user.identity is not None


def _log_out(request: Request) -> Response:
    """End a session; that at the login provider too, if that is configured and the session came from it."""
    account = sessions.find(request)
    cookie = sessions.end(request)
    if account is None:
        return Response(200, cookies=(cookie,))
    audit.write(users.event("logout", account.username, Actor(account.username, request.address)))
    address = _provider_log_out(request) if account.is_external else ""
    return Response(302, {"Location": address}, cookies=(cookie,)) if address else Response(200, cookies=(cookie,))


def _provider_log_out(request: Request) -> str:
    from chalicelib.access.oidc import log_out_address  # noqa: PLC0415 -- Authlib takes its time

    return log_out_address(f"{request.origin}/")


def _oidc(name: str) -> Handler:
    """A handler of console_oidc's, which is imported when it is called: it needs Authlib."""

    def handler(request: Request) -> Response:
        from chalicelib.console import oidc_login  # noqa: PLC0415 -- see above

        answer: Handler = getattr(oidc_login, name)
        return answer(request)

    return handler


def _form(request: Request) -> dict[str, str]:
    """The first value of each field. Raises BadRequestError."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded" or len(request.body) > _BODY_LIMIT:
        raise BadRequestError("the body must be a short application/x-www-form-urlencoded")
    try:
        fields = parse_qs(request.body.decode(), errors="strict", max_num_fields=100)
    except ValueError as error:
        raise BadRequestError("the body is not a form in UTF-8") from error
    return {name: values[0] for name, values in fields.items()}


_HANDLERS: dict[str, dict[str, Handler]] = {
    "/c/login": {"POST": _login},
    "/c/log_out": {"GET": _log_out},
    "/c/oidc/login": {"GET": _oidc("login")},
    "/c/oidc/callback": {"GET": _oidc("callback")},
    "/c/oidc/onboard": {"POST": _oidc("onboard")},
}
