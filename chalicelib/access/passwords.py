"""Password hashes: Argon2id, with the parameters that OWASP's password storage cheat sheet gives as its minimum.

19 MiB and two passes keep a login near 50 ms in a small Lambda. argon2 is imported on the first password: a
pull with a token never needs it.
"""

from __future__ import annotations

import secrets as randomness
import string
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher


@dataclass(frozen=True)
class Cost:
    """What a hash takes to make. A password is verified at the cost of its hash."""

    passes: int
    memory_kib: int


COST = Cost(passes=2, memory_kib=19 * 1024)
"""Of new hashes."""

_LETTERS = string.ascii_letters + string.digits
_LENGTH = 32
_KINDS = (string.ascii_uppercase, string.ascii_lowercase, string.digits)


@cache
def _hasher(cost: Cost) -> PasswordHasher:
    from argon2 import PasswordHasher  # noqa: PLC0415 -- see the module's docstring

    return PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=1)


def hash_password(password: str) -> str:
    """The Argon2id hash of `password` with a fresh salt, in PHC string format."""
    return _hasher(COST).hash(password)


def verify_password(password: str, password_hash: str) -> bool:
    """Whether `password` has this hash. Raises argon2's InvalidHashError when that is no Argon2 hash."""
    from argon2.exceptions import VerifyMismatchError  # noqa: PLC0415 -- see the module's docstring

    try:
        return _hasher(COST).verify(password_hash, password)
    except VerifyMismatchError:
        return False


def is_hash(text: str) -> bool:
    """Whether `text` is a hash made here rather than a password."""
    return text.startswith("$argon2id$")


def generate() -> str:
    """A new secret that follows Harbor's rule for secrets."""
    while True:
        secret = "".join(randomness.choice(_LETTERS) for _ in range(_LENGTH))
        if is_mixed(secret):
            return secret


def is_mixed(secret: str) -> bool:
    """Whether it holds an upper-case letter, a lower-case letter and a digit."""
    return all(any(letter in kind for letter in secret) for kind in _KINDS)
