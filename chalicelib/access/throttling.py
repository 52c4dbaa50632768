"""Failed logins slow down: after a few for a name, or many from an address, each further one has to wait longer.

A right password has to wait too, or guessing would go on at full speed. The waits for a name are short, or anyone could
lock anyone out. A success clears the failures of its name alone. Those of its address are forgiven by time: otherwise
who has an account could log in to it now and then, and go on guessing the passwords of others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from chalicelib.registry.errors import TooManyRequests
from chalicelib.storage import logins as table
from chalicelib.storage.logins import Failures

_NAME_LENGTH = 200
"""Characters of a name that tell it from others here: what is longer is no account's."""


@dataclass(frozen=True)
class Limit:
    """How many failures are free, and the longest wait, in seconds, after more."""

    free: int
    longest: int

    def wait(self, failed: int) -> int:
        return 0 if failed < self.free else min(2 ** min(failed - self.free, 20), self.longest)


_OF_NAME = Limit(free=5, longest=60)
_OF_ADDRESS = Limit(free=20, longest=900)


@dataclass(frozen=True)
class Attempt:
    """A login that may go on, with the failures before it by what they count for."""

    name: str
    limits: dict[str, Limit]
    before: dict[str, Failures]

    def succeeded(self) -> None:
        if self.name in self.before:
            table.forget(self.name)

    def failed(self) -> None:
        for source in self.limits:
            table.count(source, self.before.get(source))


def begin(username: str, address: str) -> Attempt:
    """Start a login as `username`, from `address` if that is known. Raises TooManyRequests while either has to wait."""
    name = f"name|{username[:_NAME_LENGTH]}"
    limits = {name: _OF_NAME}
    if address:
        limits[f"address|{address}"] = _OF_ADDRESS
    before = table.read(list(limits))
    wait = max((failures.last + limits[source].wait(failures.number) for source, failures in before.items()), default=0)
    seconds = wait - int(time.time())
    if seconds > 0:
        raise TooManyRequests("too many failed logins: wait", headers={"Retry-After": str(seconds)})
    return Attempt(name, limits, before)
