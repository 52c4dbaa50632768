"""Tokens: reading the scopes that a client asks for, and issuing tokens that carry exactly what it may have of them.

A scope is `type:name:action,action`, where a type may carry a class in parentheses (distribution-spec's token
documents; `distribution`'s ResolveScopeSpecifiers). As there, a scope that is malformed or of an unknown type
grants nothing and is no error. `*` asks for every action.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chalicelib.access import accounts, configuration, keys
from chalicelib.access.authentication import REGISTRY_AUDIENCE, Caller
from chalicelib.access.authorization import ACTIONS, permitted
from chalicelib.access.challenges import CATALOG_SCOPE
from chalicelib.projects import rules
from chalicelib.registry.errors import NameInvalid
from chalicelib.registry.names import parse_repository, project_of

_LENGTH = 8000
"""Characters of a token, which has to pass in a header (authentication.py; API Gateway: 10,240 bytes for all)."""

REFRESH_AUDIENCE = "refresh"
REFRESH_SECONDS = 28 * 86400
"""Life of a refresh token, which `docker login` keeps in place of the password; keys.ROTATION_DAYS bounds it."""


@dataclass(frozen=True)
class Token:
    """A signed access token. `scopes` are the granted ones, in the grammar of the request."""

    text: str
    scopes: tuple[str, ...]
    seconds: int
    issued: datetime


def issue(caller: Caller, asked: Iterable[str]) -> Token:
    """A token with what `caller` may have of the scopes `asked`; an empty one is a token all the same."""
    access = _granted(caller, asked)
    issued = datetime.now(UTC).replace(microsecond=0)
    seconds = configuration.token_seconds()
    text = _signed(caller, access, seconds)
    while len(text) > _LENGTH and access:
        del access[-1]  # the first that were asked for are granted, as many as fit
        text = _signed(caller, access, seconds)
    scopes = tuple(f"{entry['type']}:{entry['name']}:{','.join(entry['actions'])}" for entry in access)
    return Token(text, scopes, seconds, issued)


def _signed(caller: Caller, access: list[dict[str, Any]], seconds: int) -> str:
    claims = {"sub": caller.name, "stamp": caller.stamp, "access": access}
    return keys.sign(claims, REGISTRY_AUDIENCE, seconds)


def issue_refresh(account: accounts.Account) -> str:
    """A refresh token for `account`: void when its password changes."""
    return keys.sign({"sub": account.username, "stamp": account.stamp}, REFRESH_AUDIENCE, REFRESH_SECONDS)


def verify_refresh(token: str) -> accounts.Account | None:
    """The account that a refresh token stands for, or None when it is not valid, or not any more."""
    try:
        claims = keys.verify(token, REFRESH_AUDIENCE)
    except keys.TokenInvalidError:
        return None
    account = accounts.find(claims["sub"])
    return account if account is not None and account.stamp == claims["stamp"] else None


def _granted(caller: Caller, asked: Iterable[str]) -> list[dict[str, Any]]:
    """The token's `access` claim: an entry for each resource of which something is granted.

    `project` is the number of the repository's project, 0 when there is none. `signs` marks a repository that the
    holder may push to, though this token may not (see Caller). Whoever asks to push may delete too, if so permitted:
    some clients (oras-py) keep their first token for all that they do, as they can with Harbor's.
    """
    access: list[dict[str, Any]] = []
    for repository, actions in _repositories(asked).items():
        allowed = permitted(caller, repository)
        granted = (actions | {"delete"} if "push" in actions else actions) & allowed
        if granted:
            project = rules.find(project_of(repository))
            entry = {"type": "repository", "name": repository, "actions": sorted(granted)}
            signs = {"signs": True} if "push" in allowed else {}
            access.append({**entry, "project": project.project_id if project else 0, **signs})
    if CATALOG_SCOPE in asked and caller.is_admin:
        access.append({"type": "registry", "name": "catalog", "actions": ["*"]})
    return access


def _repositories(asked: Iterable[str]) -> dict[str, frozenset[str]]:
    """The actions asked for, by repository; several scopes of one repository add up."""
    wanted: dict[str, frozenset[str]] = defaultdict(frozenset)
    for scope in asked:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind.partition("(")[0] != "repository":
            continue
        try:
            repository = parse_repository(name)
        except NameInvalid:
            continue
        named = frozenset(actions.split(","))
        wanted[repository] |= ACTIONS if "*" in named else named & ACTIONS
    return wanted
