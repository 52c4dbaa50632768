"""The token service, `/service/token`.

GET is Docker's token protocol (docs.docker.com "Token scope documentation", "Requesting a Token"), POST its
OAuth2 form. The answers are those of `distribution`'s token server; errors are in the registry's form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from chalicelib.access import accounts, tokens
from chalicelib.access.authentication import ANONYMOUS, Caller, caller_of, verify_basic
from chalicelib.access.challenges import SERVICE
from chalicelib.access.tokens import Token
from chalicelib.http import Request, Response, to_response
from chalicelib.observability import observed
from chalicelib.oci.errors import RegistryError, Unauthorized
from chalicelib.settings import settings

_BODY_LIMIT = 64 * 1024
_SCOPE_LIMIT = 32
"""Scopes of one request that are looked at: the first. Each may cost a read of its project, and of roles in it."""
_SERVICES = ("", SERVICE, "harbor-registry")
"""Harbor's scripts name its own (src/core/service/token/creator.go); the token's audience is Berth's all the same."""

Fields = Mapping[str, Sequence[str]]


class TokenRequestInvalid(RegistryError):
    """A token request that is not of the protocol's form."""

    code, status = "UNSUPPORTED", 400


@observed
def handle(request: Request, fields: Fields) -> Response:
    """Answer one token request; `fields` are the query's parameters with all their values."""
    try:
        body = _get(request, fields) if request.method == "GET" else _post(request)
    except Unauthorized as error:
        # The challenge for credentials is Basic here: a Bearer one would send the client round in a circle.
        error.headers["WWW-Authenticate"] = f'Basic realm="{SERVICE}"'
        return to_response(error)
    except RegistryError as error:
        return to_response(error)
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(200, headers, json.dumps(body).encode())


def _get(request: Request, fields: Fields) -> dict[str, Any]:
    account = _basic_account(request)
    _require_service(fields)
    body = _answer(_caller(account), _scopes(fields))
    # Harbor gives none here, and the protocol leaves it open: docker would keep it in place of the password, where
    # kubelet and others that read docker's file do not look for it.
    wanted = settings().refresh_tokens and _first(fields, "offline_token") == "true"
    if account is not None and wanted:
        body["refresh_token"] = tokens.issue_refresh(account)
    return body


def _basic_account(request: Request) -> accounts.Account | None:
    header = request.headers.get("authorization", "").strip()
    if not header:
        return None
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        raise Unauthorized("a token is given for Basic credentials")
    return verify_basic(request, value.strip())


def _post(request: Request) -> dict[str, Any]:
    fields = _form(request)
    _require_service(fields)
    grant = _first(fields, "grant_type")
    if grant == "password":
        account = accounts.verify(_first(fields, "username"), _first(fields, "password"), request.address)
        refresh = tokens.issue_refresh(account) if account and _first(fields, "access_type") == "offline" else ""
    elif grant == "refresh_token":
        refresh = _first(fields, "refresh_token")
        account = tokens.verify_refresh(refresh)
    else:
        raise TokenRequestInvalid("grant_type must be password or refresh_token")
    if account is None:
        raise Unauthorized("the credentials are wrong or no longer valid")
    body = _answer(_caller(account), _scopes(fields))
    return {**body, "refresh_token": refresh} if refresh else body


def _form(request: Request) -> Fields:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise TokenRequestInvalid("the body must be application/x-www-form-urlencoded")
    if len(request.body) > _BODY_LIMIT:
        raise TokenRequestInvalid("the body is too long")
    try:
        return parse_qs(request.body.decode(), errors="strict", max_num_fields=100)
    except ValueError as error:
        raise TokenRequestInvalid("the body is not a form in UTF-8") from error


def _require_service(fields: Fields) -> None:
    if _first(fields, "service") not in _SERVICES:
        raise TokenRequestInvalid(f"this is the token service of {SERVICE!r}")


def _scopes(fields: Fields) -> list[str]:
    """The scopes asked for: in parameters of their own, in one separated by spaces, or both; the first of them."""
    scopes = dict.fromkeys(scope for value in fields.get("scope", ()) for scope in value.split())
    return list(scopes)[:_SCOPE_LIMIT]


def _caller(account: accounts.Account | None) -> Caller:
    return ANONYMOUS if account is None else caller_of(account)


def _answer(caller: Caller, scopes: list[str]) -> dict[str, Any]:
    token: Token = tokens.issue(caller, scopes)
    return {
        "token": token.text,
        "access_token": token.text,
        "scope": " ".join(token.scopes),
        "expires_in": token.seconds,
        "issued_at": token.issued.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _first(fields: Fields, name: str) -> str:
    values = fields.get(name)
    return values[0] if values else ""
