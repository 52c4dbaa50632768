"""Failed logins slow down: after a few for a name, or many from an address, each further one has to wait longer.

A login counts as failed before its password is hashed, and is given back when that was right: so of many at once no
more are tried than one after the other.

A right password has to wait too, or guessing would go on at full speed. But a user is not kept waiting by others:
whoever has logged in from an address before is counted there by the pair of name and address alone, whatever else fails
for the name, or from the address, behind which an office or a proxy may be. Elsewhere the waits for a name are short,
or anyone could lock anyone out. A success clears the failures of its name alone. Those of its address are forgiven by
time: otherwise who has an account could log in to it now and then, and go on guessing the passwords of others.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.registry.errors import TooManyRequests
from chalicelib.storage import logins as table
from chalicelib.storage.logins import Failures

_NAME_LENGTH = 200
"""Characters of a name that tell it from others here: what is longer is no account's."""

_KNOWN_SECONDS = 30 * 86_400
"""How long a user is known at an address after a login from there."""

_IPV6_NETWORK = 64
"""Bits of an IPv6 address that a customer is given: the others anyone can choose (RFC 6177)."""


@dataclass(frozen=True)
class Limit:
    """How many failures are free, the longest wait after more, and after how long without one they are forgotten.

    Times are in seconds.
    """

    free: int
    longest: int
    forget: int = 3600

    def wait(self, failed: int) -> int:
        return 0 if failed < self.free else min(2 ** min(failed - self.free, 20), self.longest)


_OF_NAME = Limit(free=5, longest=60)
_OF_PAIR = Limit(free=5, longest=60, forget=_KNOWN_SECONDS)
_OF_ADDRESS = Limit(free=20, longest=900)


@dataclass(frozen=True)
class _Count:
    """A source by which a login counts as failed: what was there before, and what is after that."""

    source: str
    before: Failures | None
    after: Failures

    def give_back(self) -> None:
        table.give_back(self.source, self.before, self.after)


@dataclass(frozen=True)
class Attempt:
    """A login that may go on, and counts as failed already."""

    name: str
    pair: str
    """The source of this name at this address; empty when the address is not known."""
    counts: tuple[_Count, ...]

    def succeeded(self) -> None:
        """Take back what was counted, and know the user at this address from now on."""
        for count in self.counts:
            if count.source == self.name:
                table.forget(self.name)
            elif count.source != self.pair:
                count.give_back()
        if self.pair:
            table.remember(self.pair, _KNOWN_SECONDS)


def begin(username: str, address: str) -> Attempt:
    """Start a login as `username`, from `address` if that is known. Raises TooManyRequests while either has to wait."""
    name, place = f"name|{username[:_NAME_LENGTH]}", _place(address)
    pair = f"pair|{place}|{username[:_NAME_LENGTH]}" if place else ""
    elsewhere = {name: _OF_NAME, **({f"address|{place}": _OF_ADDRESS} if place else {})}
    before = table.read([*elsewhere, *([pair] if pair else [])])
    limits = {pair: _OF_PAIR} if pair in before else elsewhere
    present = int(time.time())
    for source, limit in limits.items():
        if source in before:
            _require_no_wait(before[source].last + limit.wait(before[source].number) - present)
    return Attempt(name, pair, _counted(limits, before))


def _counted(limits: Mapping[str, Limit], before: Mapping[str, Failures]) -> tuple[_Count, ...]:
    """Count a login as failed by each source. Raises TooManyRequests when others have failed at the same time."""
    counts: list[_Count] = []
    for source, limit in limits.items():
        known = before.get(source)
        after = table.count(source, known, free=limit.free, seconds=limit.forget)
        if after is None:
            for count in counts:
                count.give_back()
            _require_no_wait(max(1, limit.wait(known.number + 1 if known else limit.free)))
        else:
            counts.append(_Count(source, known, after))
    return tuple(counts)


def _require_no_wait(seconds: int) -> None:
    if seconds > 0:
        raise TooManyRequests("too many failed logins: wait", headers={"Retry-After": str(seconds)})


def _place(address: str) -> str:
    """What an address counts by: an IPv4 address, the network of an IPv6 one; what is no address by itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:_NAME_LENGTH]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_NETWORK), strict=False))
