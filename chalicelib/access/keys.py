"""The signing keys: who holds them, how they are cached and rotated, and signing and verifying with them.

Upload addresses have keys of their own: the relay, which bodies from everywhere come to, can sign nothing else. The
secrets named by `BERTH_SIGNING_SECRET` and `BERTH_UPLOAD_SECRET` each hold, as JSON, one of

    {"key": "<generated>", …}                                        as CloudFormation's GenerateSecretString makes it
    {"current": {"id", "key"}, "previous": {"id", "key"} | null}     from the first rotation on

The first form's key is known by a digest of itself.

Everything is signed with the current key and verified with either, chosen by the `kid` header. A process
keeps what it read for five minutes, so after a rotation some still sign with the key that has become the
previous one: what is signed stays valid until the rotation after that. Hence nothing may be signed for longer
than `ROTATION_DAYS`.
"""

from __future__ import annotations

import hashlib
import json
import secrets as randomness
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from chalicelib.access.light_jwt import jwt
from chalicelib.oci.errors import Unavailable
from chalicelib.settings import settings
from chalicelib.storage import secrets
from chalicelib.timed_cache import Clock

ROTATION_DAYS = 30
"""How often the deployed schedule rotates; the longest that anything may be signed for."""

UPLOAD_AUDIENCE = "upload"

_ALGORITHM = "HS256"
_CACHE_SECONDS = 300
_REFETCH_SECONDS = 3
"""An unknown key id makes a process read the secret again, but not sooner than this: key ids can be forged."""

_CLOCK_SKEW_SECONDS = 5
_REQUIRED = ["aud", "exp", "iat", "jti", "nbf"]
_MALFORMED = (jwt.PyJWTError, ValueError, RecursionError)
"""What PyJWT raises on bad input; the last two when it is not text, or JSON nested without end."""


class TokenInvalidError(Exception):
    """Not signed by a key of ours for this audience, or malformed. Says nothing of why: the bearer need not know."""


class TokenExpiredError(TokenInvalidError):
    """Signed by us for this audience, and past its time."""


@dataclass(frozen=True)
class Key:
    id: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class KeyRing:
    """The key to sign with and the one before it."""

    current: Key
    previous: Key | None = None

    def find(self, key_id: str) -> Key | None:
        return next((key for key in (self.current, self.previous) if key and key.id == key_id), None)


def parse(text: str) -> KeyRing:
    """Read a secret's text. Raises KeyError or ValueError when it is in neither form."""
    content = json.loads(text)
    if "key" in content:
        generated = str(content["key"])
        return KeyRing(Key(hashlib.sha256(f"berth-key-id:{generated}".encode()).hexdigest()[:16], generated))
    previous = content["previous"]
    return KeyRing(Key(**content["current"]), Key(**previous) if previous else None)


class KeyCache:
    """The process's copy of the key ring. While Secrets Manager is out of reach, the last copy serves on."""

    def __init__(self, read: Callable[[], str | None], clock: Clock = time.time) -> None:
        self._read = read
        self._clock = clock
        self._ring: KeyRing | None = None
        self._read_at = 0.0
        self._tried_at = 0.0
        self._lock = threading.Lock()

    def ring(self) -> KeyRing:
        """The key ring, at most five minutes old. Raises Unavailable when it was never read and cannot be."""
        return self._refreshed(older_than=_CACHE_SECONDS)

    def find(self, key_id: str) -> Key | None:
        """The key with this id, looking it up anew when it is not known and the last look is seconds ago."""
        key = self.ring().find(key_id)
        return key if key is not None else self._refreshed(older_than=_REFETCH_SECONDS).find(key_id)

    def _refreshed(self, older_than: float) -> KeyRing:
        ring = self._ring
        if ring is not None and self._clock() - self._read_at < older_than:
            return ring
        with self._lock:
            if self._clock() - self._tried_at < _REFETCH_SECONDS:
                return self._last_known()
            try:
                text = self._read()
            except Unavailable:
                return self._last_known()
            finally:
                self._tried_at = self._clock()
            if text is None:
                raise Unavailable("the signing key is not set up")
            self._ring, self._read_at = parse(text), self._clock()
            return self._ring

    def _last_known(self) -> KeyRing:
        if self._ring is None:
            raise Unavailable("the signing key is out of reach")
        return self._ring


def _keys(audience: str) -> KeyCache:
    return _keys_in(settings().upload_secret if audience == UPLOAD_AUDIENCE else settings().signing_secret)


@cache
def _keys_in(secret: str) -> KeyCache:
    return KeyCache(lambda: secrets.read(secret))


def sign(claims: Mapping[str, Any], audience: str, seconds: int) -> str:
    """A compact JWT of `claims` that `verify` accepts for `audience` during the next `seconds`."""
    key = _keys(audience).ring().current
    now = int(time.time())
    times = {"iat": now, "nbf": now, "exp": now + seconds}
    payload = {**claims, **times, "aud": audience, "jti": uuid.uuid4().hex}
    return jwt.encode(payload, key.key, _ALGORITHM, headers={"kid": key.id})


def verify(token: str, audience: str) -> dict[str, Any]:
    """The claims of a token signed for `audience`. Raises TokenInvalidError or TokenExpiredError."""
    try:
        key_id = str(jwt.get_unverified_header(token).get("kid", ""))
    except _MALFORMED as error:
        raise TokenInvalidError from error
    key = _keys(audience).find(key_id)
    if key is None:
        raise TokenInvalidError
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[_ALGORITHM],
            audience=audience,
            leeway=_CLOCK_SKEW_SECONDS,
            options={"require": _REQUIRED},
        )
    except jwt.ExpiredSignatureError as error:
        raise TokenExpiredError from error
    except _MALFORMED as error:
        raise TokenInvalidError from error
    return claims


def rotate(event: Mapping[str, Any]) -> None:
    """Make a new key the current one and the current one the previous, in each secret. A scheduled Lambda's whole work.

    `event["id"]` names the occasion (EventBridge gives every firing one, and repeats it on a retry). It names
    the secret's new version too, so an event that arrives twice, or again after the function was killed
    half-way, makes one rotation. Of two occasions at once one wins; the other's version, based on a ring that
    is no longer current, is left aside. Anyone who must be rid of a leaked key invokes the function twice.
    """
    version = hashlib.sha256(f"rotation:{event['id']}".encode()).hexdigest()
    for name in (settings().signing_secret, settings().upload_secret):
        _rotate(name, version)


def _rotate(name: str, version: str) -> None:
    current_version, current_text = secrets.read_current(name)
    if current_version == version:
        return
    staged = secrets.read(name, version)
    if staged is None:
        fresh = Key(uuid.uuid4().hex[:16], randomness.token_urlsafe(48))
        secrets.stage(name, version, json.dumps(asdict(KeyRing(fresh, parse(current_text).current))))
    elif parse(staged).previous != parse(current_text).current:
        return
    secrets.promote(name, version, over=current_version)
