"""Who sends a request: nobody, an account by Basic credentials, or the bearer of a token of ours."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.access import keys
from chalicelib.access.challenges import challenge, needed_scope
from chalicelib.events.records import ANONYMOUS_NAME, Actor
from chalicelib.http import Request
from chalicelib.oci.errors import Unauthorized
from chalicelib.projects.store.members import Entity
from chalicelib.timed_cache import TimedCache

if TYPE_CHECKING:
    from chalicelib.access.accounts import Account
    from chalicelib.access.store.robots import Robot

REGISTRY_AUDIENCE = "registry"

_HEADER_LIMIT = 8192
"""Characters of an Authorization header (API Gateway allows 10,240 bytes for all headers)."""


@dataclass(frozen=True)
class RepositoryGrant:
    """What a token grants of one repository, in the project that had the name when the token was issued.

    `project_id` is 0 where there was none: only the administrator is granted anything there. `signs` marks a repository
    that the bearer could ask to push to: who signs an image reads it with a token for no more than that, and a
    project's policies let it.
    """

    actions: frozenset[str]
    project_id: int
    signs: bool = False


@dataclass(frozen=True)
class Owner:
    """The account that a token or an upload's address was given to: what was given ends with it.

    `number` is as in Caller, 0 where it is not known. `stamp` is the account's (accounts.py); empty for nobody, and in
    addresses of before it was in them.
    """

    name: str = ""
    number: int = 0
    stamp: str = ""


@dataclass(frozen=True)
class Caller:
    """Who asks. With `grants`, a token's bearer, who may do just what they say; without, an account or nobody.

    `grants` are by repository; `sees_catalog` is the scope `registry:catalog:*`.
    """

    name: str = ""
    number: int = 0
    """The account's, as Harbor's user id; 0 for nobody, for a robot and for the bearer of a token."""
    is_admin: bool = False
    grants: Mapping[str, RepositoryGrant] | None = None
    sees_catalog: bool = False
    robot: Robot | None = None
    """The robot that asks with its own name and secret."""
    groups: tuple[int, ...] = ()
    """Numbers of the groups that a user is in."""
    stamp: str = ""
    """The account's (accounts.py), which a token is issued under; that of the token's account, for its bearer."""
    bearer_of: int = 0
    """The number of the account that the bearer's token was given to. It gives no rights: `grants` do."""

    @property
    def owner(self) -> Owner:
        """The account that is to own what is given to the caller."""
        return Owner(self.name, self.number or self.bearer_of, self.stamp)

    @property
    def is_anonymous(self) -> bool:
        return not self.name

    @property
    def entities(self) -> tuple[Entity, ...]:
        """Whatever a role can be given to that the caller has it by: the user and the user's groups."""
        return (Entity("user", self.number), *(Entity("group", group) for group in self.groups)) if self.number else ()


ANONYMOUS = Caller()

_VERIFIED_SECONDS = 60


_bearers: TimedCache[str, Caller] = TimedCache(1024)
"""Who bears a token, for tokens that were verified lately: a pull of many layers sends the same one each time."""


def authenticate(request: Request) -> Caller:
    """The caller named by the Authorization header. Raises Unauthorized, with a challenge, for a bad one."""
    header = request.headers.get("authorization", "").strip()
    if not header:
        return ANONYMOUS
    if len(header) > _HEADER_LIMIT:
        raise _unauthorized(request, "the Authorization header is too long")
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return _bearer(request, value.strip())
    if scheme.lower() == "basic":
        return caller_of(verify_basic(request, value.strip()))
    raise _unauthorized(request, "the Authorization header is neither Basic nor Bearer")


def caller_of(account: Account) -> Caller:
    return Caller(
        account.username,
        account.number,
        account.is_admin,
        robot=account.robot,
        groups=account.groups,
        stamp=account.stamp,
    )


def actor_of(caller: Caller, request: Request) -> Actor:
    """Who the audit log names for what `request` does."""
    return Actor(caller.name or ANONYMOUS_NAME, request.address, request.origin.partition("://")[2])


def verify_basic(request: Request, encoded: str) -> Account:
    """The account whose Basic credentials these are (RFC 7617, UTF-8). Raises Unauthorized."""
    try:
        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise _unauthorized(request, "the Basic credentials are malformed")
    from chalicelib.access import accounts  # noqa: PLC0415 -- a pull with a token, or without, does without

    account = accounts.verify(username, password, request.address)
    if account is None:
        raise _unauthorized(request, "the user name or the password is wrong")
    return account


def _bearer(request: Request, token: str) -> Caller:
    cached = _bearers.get(token)
    bearer = cached[0] if cached is not None else _read_token(request, token)
    if bearer.stamp:
        from chalicelib.access import accounts  # noqa: PLC0415 -- a pull without a token does without

        owner = bearer.owner
        if accounts.find_stamped(owner.name, owner.number, owner.stamp) is None:
            raise _unauthorized(request, "the account that the token was given to has changed", "invalid_token")
    return bearer


def _read_token(request: Request, token: str) -> Caller:
    try:
        claims = keys.verify(token, REGISTRY_AUDIENCE)
    except keys.TokenInvalidError as error:
        raise _unauthorized(request, "the token is invalid or has expired", "invalid_token") from error
    access = claims["access"]
    # A token of before projects were numbered in it grants nothing: its holder gets another one.
    grants = {
        entry["name"]: RepositoryGrant(frozenset(entry["actions"]), entry["project"], entry.get("signs", False))
        for entry in access
        if entry["type"] == "repository" and "project" in entry
    }
    sees_catalog = any(entry["type"] == "registry" for entry in access)
    bearer = Caller(
        claims["sub"],
        grants=grants,
        sees_catalog=sees_catalog,
        stamp=claims.get("stamp", ""),
        bearer_of=claims.get("number", 0),
    )
    return _bearers.put(token, bearer, min(_VERIFIED_SECONDS, claims["exp"] - time.time()))


def _unauthorized(request: Request, message: str, error: str = "") -> Unauthorized:
    return Unauthorized(message, headers=challenge(request, needed_scope(request), error))
