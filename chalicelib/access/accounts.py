"""Accounts that log in with a password: the administrator's, kept in Secrets Manager, the users' and the robots'."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets as randomness
import time
from dataclasses import dataclass, field
from functools import cache

from chalicelib.access import passwords, throttling
from chalicelib.access.store import robots
from chalicelib.access.store import users as table
from chalicelib.access.store.robots import LOGIN_PREFIX, NEVER, Robot
from chalicelib.access.store.users import User
from chalicelib.settings import settings
from chalicelib.storage import secrets
from chalicelib.storage.tables.keys import ADMINISTRATOR
from chalicelib.timed_cache import TimedCache

NAME_LENGTH = 255
"""Characters of a user name: four bytes each at most, so that a DynamoDB key (1 KB) has room for it."""

_ACCOUNT_SECONDS = 30
_VERIFIED_SECONDS = 60


@dataclass(frozen=True)
class Account:
    """A user or robot that can log in. `number` is Harbor's user id, 0 for a robot."""

    username: str
    password_hash: str = field(repr=False)
    number: int = ADMINISTRATOR
    is_admin: bool = True
    robot: Robot | None = None
    groups: tuple[int, ...] = ()
    """Numbers of a user's groups."""
    is_external: bool = False
    """Whether the login provider knows the user's password, and `password_hash` is the command line secret's."""

    external_stamp: str = ""
    """What the sessions of such a user are void without."""

    @property
    def session_stamp(self) -> str:
        """Changes with what ends the account's sessions: its password, where that is kept here."""
        return self.external_stamp if self.is_external else self.stamp

    @property
    def stamp(self) -> str:
        """Changes with the password: what was issued under another stamp is void."""
        return hashlib.sha256(self.password_hash.encode()).hexdigest()[:16]

    @property
    def is_closed(self) -> bool:
        """Whether it is a robot's that has been disabled or has expired: nobody can log in to it."""
        robot = self.robot
        return robot is not None and (robot.disabled or (robot.expires != NEVER and robot.expires <= time.time()))


_administrator: TimedCache[str, Account | None] = TimedCache(1)
_users: TimedCache[str, Account | None] = TimedCache(1024)
_verified: TimedCache[bytes, bool] = TimedCache(256)


@cache
def _process_key() -> bytes:
    """Keys the digests under which verified credentials are remembered, so that they mean nothing outside."""
    return randomness.token_bytes(32)


@cache
def _nobodys_hash() -> str:
    """What the password for an unknown name is compared with, so that it takes as long as for a known one."""
    return passwords.hash_password(randomness.token_urlsafe(16))


def administrator() -> Account | None:
    """The administrator's account, at most half a minute old; None while the deploy has not set one."""
    name = settings().admin_secret
    cached = _administrator.get(name)
    return cached[0] if cached else _administrator.put(name, _read_secret(name), _ACCOUNT_SECONDS)


def set_administrator(username: str, password_hash: str) -> None:
    """Write the account. Processes that have cached another follow within half a minute."""
    content = {"username": username, "password_hash": password_hash}
    secrets.write(settings().admin_secret, json.dumps(content))
    _administrator.clear()


def find(username: str) -> Account | None:
    """The account of this name, at most half a minute old, unless it is closed."""
    admin = administrator()
    if admin is not None and username == admin.username:
        return admin
    cached = _users.get(username)
    account = cached[0] if cached else _users.put(username, _read(username), _ACCOUNT_SECONDS)
    return None if account is None or account.is_closed else account


def find_numbered(username: str, number: int) -> Account | None:
    """As `find`, by the account's number too: it takes one read, and none of the administrator's secret."""
    if number == ADMINISTRATOR:
        return find(username)
    cached = _users.get(username)
    account = cached[0] if cached else _users.put(username, _read_numbered(username, number), _ACCOUNT_SECONDS)
    return account if account is not None and account.number == number and not account.is_closed else None


def find_stamped(username: str, number: int, stamp: str) -> Account | None:
    """The account that something was given to, unless it is gone, closed, or has another password than under `stamp`.

    At most half a minute old. Without a stamp, as what was given of old is, the name alone counts.
    """
    if not stamp:
        return find(username)
    account = find_numbered(username, number)
    return account if account is not None and account.stamp == stamp else None


def forget(username: str) -> None:
    """An account has changed: what this process remembers of it is no longer so."""
    _users.drop(username)


def verify(username: str, password: str, address: str = "") -> Account | None:
    """The account whose name and password these are, or None.

    A wrong name costs the same Argon2 run as a wrong password. A success is remembered for a minute, under a
    digest that includes the password's hash, so that it ends with the password. `address` is where the login comes
    from, if known. Raises TooManyRequests while the user or the address has to wait.
    """
    account = find(username)
    digest = b""
    if account is not None:
        parts = "\0".join((username, password, account.password_hash))
        digest = hmac.digest(_process_key(), parts.encode(), "sha256")
        if _verified.get(digest):
            return account
    attempt = throttling.begin(username, address)
    known = account.password_hash if account else ""
    with throttling.hashing(attempt):
        is_right = passwords.verify_password(password, known or _nobodys_hash())
    if is_right and account and known:
        attempt.succeeded()
        _verified.put(digest, True, _VERIFIED_SECONDS)
        return account
    return None


def _read(username: str) -> Account | None:
    if username.startswith(LOGIN_PREFIX):
        robot = robots.read_by_login(username)
        return Account(username, robot.secret_hash, 0, is_admin=False, robot=robot) if robot else None
    user = table.read_by_name(username) if 1 <= len(username) <= NAME_LENGTH else None
    return of_user(user) if user else None


def _read_numbered(username: str, number: int) -> Account | None:
    user = table.read(number) if number else None
    return of_user(user) if user is not None and user.username == username else _read(username)


def of_user(user: User) -> Account:
    """The account that a user's record is."""
    identity = user.identity
    if identity is None:
        return Account(user.username, user.password_hash, user.number, user.admin, groups=user.groups)
    is_admin = user.admin or identity.admin
    secret = identity.secret_hash
    return Account(
        user.username,
        secret,
        user.number,
        is_admin,
        groups=user.groups,
        is_external=True,
        external_stamp=identity.session_stamp,
    )


def _read_secret(name: str) -> Account | None:
    """Raises ValueError when the secret is not JSON. Without a hash in it, as deployed at first, nobody can log in."""
    content = json.loads(secrets.read(name) or "{}")
    return Account(content["username"], content["password_hash"]) if "password_hash" in content else None
