"""Tokens: reading the scopes that a client asks for, and issuing tokens that carry exactly what it may have of them.

A scope is `type:name:action,action`, where a type may carry a class in parentheses (distribution-spec's token
documents; `distribution`'s ResolveScopeSpecifiers). As there, a scope that is malformed or of an unknown type
grants nothing and is no error. `*` asks for every action.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chalicelib.access import accounts, configuration, keys
from chalicelib.access.authentication import REGISTRY_AUDIENCE, Caller
from chalicelib.access.authorization import ACTIONS, ANY_PROJECT, permitted
from chalicelib.access.challenges import CATALOG_SCOPE
from chalicelib.oci.errors import NameInvalid
from chalicelib.oci.names import parse_repository, project_of
from chalicelib.projects import rules

REFRESH_AUDIENCE = "refresh"
REFRESH_SECONDS = 28 * 86400
"""Life of a refresh token, which `docker login` keeps in place of the password; keys.ROTATION_DAYS bounds it."""

_ACCESS_LENGTH = 5000
"""Characters of the `access` claim, which base64 makes 6,700: API Gateway allows 10,240 bytes for all headers."""


@dataclass(frozen=True)
class Token:
    """A signed access token. `scopes` are the granted ones, in the grammar of the request."""

    text: str
    scopes: tuple[str, ...]
    seconds: int
    issued: datetime


def issue(caller: Caller, asked: Iterable[str]) -> Token:
    """A token with what `caller` may have of the scopes `asked`; an empty one is a token all the same."""
    access = _that_fit(_granted(caller, asked))
    issued = datetime.now(UTC).replace(microsecond=0)
    seconds = configuration.token_seconds()
    owner = {"number": caller.number, "stamp": caller.stamp} if caller.stamp else {}
    text = keys.sign({"sub": caller.name, **owner, "access": access}, REGISTRY_AUDIENCE, seconds)
    scopes = tuple(f"{entry['type']}:{entry['name']}:{','.join(entry['actions'])}" for entry in access)
    return Token(text, scopes, seconds, issued)


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

    `project` is the number of the project that has the name now: what is granted ends with it. `signs` marks a
    repository that the holder may push to, though this token may not (see RepositoryGrant).
    """
    access: list[dict[str, Any]] = []
    for repository, actions in _repositories(asked).items():
        allowed = permitted(caller, repository)
        # Clients that push and then delete keep the one token, as Harbor's are for all that its holder may do.
        wanted = actions | {"delete"} if "push" in actions else actions
        granted = wanted & allowed
        if granted:
            project = rules.find(project_of(repository))
            signs = {"signs": True} if "push" in allowed else {}
            entry = {"type": "repository", "name": repository, "actions": sorted(granted)}
            access.append({**entry, "project": project.project_id if project else ANY_PROJECT, **signs})
    if CATALOG_SCOPE in asked and caller.is_admin:
        access.append({"type": "registry", "name": "catalog", "actions": ["*"]})
    return access


def _that_fit(access: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first entries, as many as the headers of a request have room for once they are signed."""
    sizes = itertools.accumulate(len(json.dumps(entry)) for entry in access)
    return [entry for entry, size in zip(access, sizes, strict=True) if size <= _ACCESS_LENGTH]


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
