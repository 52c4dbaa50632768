"""Users to call the API as, beside the administrator and nobody."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

from chalicelib.access import accounts, users
from chalicelib.access.store import users as accounts_table
from chalicelib.events.records import Actor
from chalicelib.http import Response
from tests.access.support import basic
from tests.api.support import call

PASSWORD = "Passw0rd-of-a-test"


def new_user() -> tuple[str, int]:
    """A plain user's name and number."""
    name = f"user-{uuid.uuid4().hex[:12]}"
    return name, users.create(name, PASSWORD, f"{name}@example.com", "A user", "").number


def as_user(name: str, method: str, url: str, body: Any = None) -> Response:
    return call(method, url, body, headers=basic(name, PASSWORD), admin=False)


def content(response: Response, status: int = 200) -> Any:
    """What an answer with this status holds."""
    assert response.status == status, response.body
    return json.loads(response.body) if response.body else None


def join(number: int, *groups: int) -> None:
    """Make the user one of just these groups, as a login by OIDC does."""
    user = accounts_table.read(number)
    assert user is not None
    assert accounts_table.replace(
        user, replace(user, groups=groups), users.event("login", user.username, Actor("test"))
    )
    accounts.forget(user.username)
