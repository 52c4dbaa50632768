"""An administrator to log in as, and requests to send."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

from chalicelib.access import accounts, passwords, token_service
from chalicelib.access.store import logins
from chalicelib.bootstrap import bootstrap
from chalicelib.http import Request, Response

NAME = "admin"
PASSWORD = "Tr0ub4dor:and:3"  # RFC 7617: a password may hold colons, a name may not
ORIGIN = "https://registry.example.com"

BASIC = {"authorization": "Basic " + base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()}


def be_administrator() -> None:
    """Make the administrator have the name and the password of these tests, whatever another has set."""
    account = accounts.administrator()
    if account is None or account.username != NAME or not passwords.verify_password(PASSWORD, account.password_hash):
        bootstrap(NAME, PASSWORD)
    logins.forget(f"name|{NAME}")  # what other tests got wrong


def basic(username: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def request(method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Request:
    return Request(method, path, headers=headers or {}, body=body, origin=ORIGIN)


def get_token(headers: dict[str, str] | None = None, **fields: list[str]) -> Response:
    return token_service.handle(request("GET", "/service/token", headers), fields)


def post_token(body: str, content_type: str = "application/x-www-form-urlencoded") -> Response:
    sent = request("POST", "/service/token", {"content-type": content_type}, body.encode())
    return token_service.handle(sent, {})


def token_for(headers: dict[str, str] | None, *scopes: str) -> str:
    return str(json_of(get_token(headers, scope=list(scopes)))["token"])


def refresh_token_for(username: str, password: str) -> str:
    fields = {"grant_type": "password", "username": username, "password": password, "access_type": "offline"}
    return str(json_of(post_token(urlencode(fields)))["refresh_token"])


def json_of(response: Response) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(response.body)
    return body
