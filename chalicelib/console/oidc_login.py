"""Logging in with a browser at the login provider: to it, back from it, and into a name of one's own.

What has to be remembered on the way is in a signed cookie, bound to the browser by being there, and the way can be gone
once. A user who is new and not onboarded at once has an hour to choose a name; what the provider said waits in the
table, under a random name that the browser has.
"""

from __future__ import annotations

import hmac
import re
import secrets as randomness
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from chalicelib.access import configuration, cookies, keys, oidc, onboarding, sessions
from chalicelib.access.errors import ProviderError
from chalicelib.access.oidc import Flow, Profile
from chalicelib.access.store import sessions as table
from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError, PreconditionFailedError
from chalicelib.api.operations import json_body
from chalicelib.http import Request, Response

CALLBACK = "/c/oidc/callback"
_FLOW_COOKIE = "oidc_flow"
_ONBOARD_COOKIE = "oidc_onboard"
_AUDIENCE = "oidc-flow"
_FLOW_SECONDS = 600
_ONBOARD_SECONDS = 3600

_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1023}\Z")
"""Where a browser may be sent afterwards: a path of this host, nothing that a browser would read as another one."""


def login(request: Request) -> Response:
    """Send a browser to the provider. `redirect_url` is the path to come back to."""
    _require_mode()
    back = request.query.get("redirect_url", "/")
    if not _LOCAL_PATH.match(back):
        raise BadRequestError("redirect_url must be a path of this host")
    url, flow = oidc.begin(_redirect_uri(request))
    signed = keys.sign({**asdict(flow), "back": back}, _AUDIENCE, _FLOW_SECONDS)
    return _redirect(url, cookies.write(request, _FLOW_COOKIE, signed, seconds=_FLOW_SECONDS))


def callback(request: Request) -> Response:
    """What the provider sends a browser back to."""
    _require_mode()
    flow, back = _take_flow(request)
    done = cookies.clear(request, _FLOW_COOKIE)
    query = request.query
    if "error" in query:
        said = f"{query['error'][:100]} - {query.get('error_description', '')[:500]}"
        raise BadRequestError(f"OIDC callback returned error: {said}")
    profile = oidc.finish(_redirect_uri(request), query.get("code", ""), flow)
    account = onboarding.refresh(profile, request.address)
    name = onboarding.suggested_name(profile)
    if account is None and configuration.current().oidc_auto_onboard:
        if not name:
            raise ProviderError("the provider tells no user name: set oidc_user_claim")
        account = onboarding.onboard(profile, name, request.address)
    if account is not None:
        return _redirect(back, done, sessions.begin(request, account))
    waiting = randomness.token_urlsafe(32)
    table.create(waiting, _ONBOARD_COOKIE, asdict(profile), _ONBOARD_SECONDS)
    cookie = cookies.write(request, _ONBOARD_COOKIE, waiting, seconds=_ONBOARD_SECONDS)
    return _redirect(f"/oidc-onboard?{urlencode({'username': name, 'redirect_url': back})}", done, cookie)


def onboard(request: Request) -> Response:
    """Give a user the name that they choose at their first login, and begin their session."""
    _require_mode()
    username = fields.text(json_body(request), "username")
    waiting = cookies.read(request, _ONBOARD_COOKIE)
    found = table.read(waiting, _ONBOARD_COOKIE) if waiting else None
    if found is None:
        raise BadRequestError("Failed to get OIDC user info from session")
    account = onboarding.onboard(_profile(found[0]), username, request.address)
    table.delete(waiting, _ONBOARD_COOKIE)
    return Response(200, cookies=(cookies.clear(request, _ONBOARD_COOKIE), sessions.begin(request, account)))


def _take_flow(request: Request) -> tuple[Flow, str]:
    """What was remembered when the browser was sent off, once. Raises BadRequestError."""
    try:
        claims = keys.verify(cookies.read(request, _FLOW_COOKIE), _AUDIENCE)
    except keys.TokenInvalidError as error:
        raise BadRequestError("State mismatch: the login was not begun here, or took too long") from error
    flow = Flow(claims["state"], claims["nonce"], claims["verifier"])
    if not hmac.compare_digest(flow.state.encode(), request.query.get("state", "").encode()):
        raise BadRequestError("State mismatch")
    if not table.create(flow.state, "used", {}, _FLOW_SECONDS + 60):
        raise BadRequestError("State mismatch: this login has been used")
    return flow, claims["back"]


def _require_mode() -> None:
    mode = configuration.current().auth_mode
    if mode != configuration.OIDC_AUTH:
        raise PreconditionFailedError(f"auth mode: {mode} is not OIDC based.")


def _redirect_uri(request: Request) -> str:
    return f"{request.origin}{CALLBACK}"


def _redirect(url: str, *set_cookies: str) -> Response:
    return Response(302, {"Location": url, "Cache-Control": "no-store"}, cookies=set_cookies)


def _profile(content: dict[str, Any]) -> Profile:
    return Profile(**{**content, "groups": tuple(content["groups"])})
