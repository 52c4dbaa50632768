"""The administrator's account, kept in Secrets Manager, and checking its password."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets as randomness
from dataclasses import asdict, dataclass, field
from functools import cache

from chalicelib.access import passwords
from chalicelib.settings import settings
from chalicelib.storage import secrets
from chalicelib.timed_cache import TimedCache

_ACCOUNT_SECONDS = 30
_VERIFIED_SECONDS = 60


@dataclass(frozen=True)
class Account:
    """The secret's JSON: {"username", "password_hash"}."""

    username: str
    password_hash: str = field(repr=False)

    @property
    def stamp(self) -> str:
        """Changes with the password: what was issued under another stamp is void."""
        return hashlib.sha256(self.password_hash.encode()).hexdigest()[:16]


_account: TimedCache[str, Account | None] = TimedCache(1)
_verified: TimedCache[bytes, bool] = TimedCache(256)


@cache
def _process_key() -> bytes:
    """Keys the digests under which verified credentials are remembered, so that they mean nothing outside."""
    return randomness.token_bytes(32)


def administrator() -> Account | None:
    """The account, at most half a minute old; None while the deploy has not set one."""
    name = settings().admin_secret
    cached = _account.get(name)
    return cached[0] if cached else _account.put(name, _read(name), _ACCOUNT_SECONDS)


def set_administrator(username: str, password_hash: str) -> None:
    """Write the account. Processes that have cached another follow within half a minute."""
    account = Account(username, password_hash)
    secrets.write(settings().admin_secret, json.dumps(asdict(account)))
    _account.clear()


def verify(username: str, password: str) -> Account | None:
    """The account whose name and password these are, or None.

    A wrong name costs the same Argon2 run as a wrong password. A success is remembered for a minute, under a
    digest that includes the password's hash, so that it ends with the password.
    """
    account = administrator()
    if account is None:
        return None
    parts = "\0".join((username, password, account.password_hash))
    digest = hmac.digest(_process_key(), parts.encode(), "sha256")
    if _verified.get(digest):
        return account
    password_right = passwords.verify_password(password, account.password_hash)
    name_right = hmac.compare_digest(username.encode(), account.username.encode())
    if not (password_right and name_right):
        return None
    _verified.put(digest, True, _VERIFIED_SECONDS)
    return account


def _read(name: str) -> Account | None:
    """Raises ValueError when the secret is not JSON. Without a hash in it, as deployed at first, nobody can log in."""
    content = json.loads(secrets.read(name) or "{}")
    return Account(content["username"], content["password_hash"]) if "password_hash" in content else None
