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
    """How many failures are free, and the longest wait, in seconds, after more."""

    free: int
    longest: int

    def wait(self, failed: int) -> int:
        return 0 if failed < self.free else min(2 ** min(failed - self.free, 20), self.longest)


_OF_NAME = Limit(free=5, longest=60)
_OF_ADDRESS = Limit(free=20, longest=900)


@dataclass(frozen=True)
class Attempt:
    """A login that may go on, and counts as failed already by its `sources`, each with what was there before."""

    name: str
    pair: str
    """The source of this name at this address; empty when the address is not known."""
    sources: dict[str, Failures | None]

    def succeeded(self) -> None:
        """Take back what was counted, and know the user at this address from now on."""
        if self.pair:
            table.remember(self.pair, _KNOWN_SECONDS)
        for source, before in self.sources.items():
            if source == self.name:
                table.forget(source)
            elif source != self.pair:
                table.give_back(source, before)


def begin(username: str, address: str) -> Attempt:
    """Start a login as `username`, from `address` if that is known. Raises TooManyRequests while either has to wait."""
    name, place = f"name|{username[:_NAME_LENGTH]}", _place(address)
    pair = f"pair|{place}|{username[:_NAME_LENGTH]}" if place else ""
    elsewhere = {name: _OF_NAME, **({f"address|{place}": _OF_ADDRESS} if place else {})}
    before = table.read([*elsewhere, *([pair] if pair else [])])
    limits = {pair: _OF_NAME} if pair in before else elsewhere
    wait = max(
        (before[each].last + limit.wait(before[each].number) for each, limit in limits.items() if each in before),
        default=0,
    )
    _require_no_wait(wait - int(time.time()))
    _count(limits, before)
    return Attempt(name, pair, {source: before.get(source) for source in limits})


def _count(limits: dict[str, Limit], before: dict[str, Failures]) -> None:
    """Count a login as failed by each source. Raises TooManyRequests when others have used up what was free."""
    counted: list[str] = []
    for source, limit in limits.items():
        number = table.count(source, before.get(source))
        counted.append(source)
        known = before[source].number if source in before else 0
        wait = limit.wait(number - 1) if number - 1 > known else 0
        if wait:
            for each in counted:
                table.give_back(each, before.get(each))
            _require_no_wait(wait)


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
