"""The credentials of upstream registries: passwords in Secrets Manager, each under a name of its own.

A secret is never changed: a new password is a new secret, the endpoint's record is made to name it, and the old one is
deleted after that. So of two who change an endpoint at once, each record names the password that belongs to it, and
whoever is killed half-way leaves a secret that no record names; `sweep` finds those.
"""

from __future__ import annotations

import time

from chalicelib.settings import settings
from chalicelib.storage import secrets
from chalicelib.storage.conditions import new_id
from chalicelib.timed_cache import TimedCache
from chalicelib.upstreams import store as registries
from chalicelib.upstreams.authorization import Credential
from chalicelib.upstreams.records import Endpoint

_KNOWN_SECONDS = 300
_UNNAMED_SECONDS = 3600
"""After this, whoever has made a secret has made a record name it, or never will: a request ends within 30 seconds."""

_passwords: TimedCache[str, str] = TimedCache(64)


def of(endpoint: Endpoint) -> Credential:
    """What to prove oneself by to the registry; that of nobody when it has no user's name."""
    return Credential(endpoint.access_key, stored(endpoint)) if endpoint.access_key else Credential("", "")


def stored(endpoint: Endpoint) -> str:
    """The password of the registry's record; empty when it has none.

    If it has been replaced since the record was read, the new one, but for a registry that is another one now.
    """
    if not endpoint.secret:
        return ""
    password = _password(endpoint.secret)
    if password is None:
        current = registries.read(endpoint.number)
        if current is not None and current.secret and is_same_place(endpoint, current):
            password = _password(current.secret)
    return password or ""


def is_same_place(one: Endpoint, other: Endpoint) -> bool:
    """Whether a password of one record may be told to the registry of the other."""
    return (one.type, one.url, one.access_key) == (other.type, other.url, other.access_key)


def keep(endpoint_name: str, password: str) -> str:
    """Put a password away; returns the name of its secret."""
    name = f"{settings().endpoint_secrets}{new_id()}"
    secrets.create(name, password, f"The password that Berth logs in to the registry {endpoint_name} with.")
    _passwords.put(name, password, _KNOWN_SECONDS)
    return name


def drop(secret: str) -> None:
    """Delete a secret that no record names any more; an empty name is none."""
    if secret:
        secrets.delete(secret)
        _passwords.drop(secret)


def sweep() -> int:
    """Delete the secrets that no record names, an hour after they were made. Returns how many."""
    # Listed before the records are read: what a record comes to name in between was made too late to be listed.
    old = list(secrets.list_names(settings().endpoint_secrets, time.time() - _UNNAMED_SECONDS))
    named = {endpoint.secret for endpoint in registries.read_all()} if old else set()
    unnamed = [name for name in old if name not in named]
    for name in unnamed:
        drop(name)
    return len(unnamed)


def _password(secret: str) -> str | None:
    """The password that a secret holds; None when it has been deleted."""
    found = _passwords.get(secret)
    if found is not None:
        return found[0]
    password = secrets.read(secret)
    return None if password is None else _passwords.put(secret, password, _KNOWN_SECONDS)
