"""Failed logins slow down: after a few for a name, or many from an address, each further one has to wait longer.

An attempt is counted before its password is looked at, and given back when that was right: of many at once no more go
on than of many in a row. A right password has to wait too, or guessing would go on at full speed; so the waits for a
name are short, or anyone could lock anyone out.

A user who has logged in from an address before is counted apart there (`known`): neither those who fail for the name
from elsewhere, nor those who fail for other names from the same address, keep that user waiting. A fleet behind one
address may log in at once there, so more failures are free. A success clears the failures of its name, and forgives one
of the name at its address. Those of the address are forgiven by time: otherwise a user could log in to it now and then,
and go on guessing the passwords of others.
"""

from __future__ import annotations

import contextlib
import ipaddress
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from chalicelib.access.store import logins as table
from chalicelib.access.store.logins import Failures
from chalicelib.oci.errors import TooManyRequests

_NAME_LENGTH = 200
"""Characters of a name that distinguish it from others here: what is longer is no account's."""
_ADDRESS_LENGTH = 64
_IPV6_PREFIX = 64
"""Bits: the smallest network that a provider gives one customer (RFC 6177), who has all addresses in it."""

_HASHES_AT_ONCE = 4
_HASH_WAIT_SECONDS = 2.0
_hashing = threading.BoundedSemaphore(_HASHES_AT_ONCE)


@dataclass(frozen=True)
class Limit:
    """How many failures are free, and the longest wait, in seconds, after more."""

    free: int
    longest: int

    def wait(self, failed: int) -> int:
        return 0 if failed < self.free else min(2 ** min(failed - self.free, 20), self.longest)


_OF_NAME = Limit(free=5, longest=60)
_OF_ADDRESS = Limit(free=20, longest=900)
_OF_KNOWN = Limit(free=100, longest=60)

_PAUSES_SECONDS = (0.03, 0.06, 0.1)
"""Between the looks at whether those in the way were right, and have given back what they counted."""


@dataclass(frozen=True)
class Attempt:
    """A login that may go on. It counts as failed until it is known to have succeeded."""

    source: str
    """Of the name, or of the name at the address."""
    address: str
    """The address's source, if the attempt counts for it."""
    known: str
    """What remembers the success for the name at the address, if that is known."""
    before: dict[str, Failures]

    def succeeded(self) -> None:
        if self.source == self.known:
            table.remember(self.known, self.before[self.known])
            return
        table.forget(self.source)
        self._give_address_back()
        if self.known:
            table.remember(self.known)

    def withdrawn(self) -> None:
        """The password was not looked at: the attempt does not count."""
        table.give_back(self.source, self.before.get(self.source))
        self._give_address_back()

    def _give_address_back(self) -> None:
        if self.address:
            table.give_back(self.address, self.before.get(self.address))


def begin(username: str, address: str) -> Attempt:
    """Start a login as `username`, from `address` if that is known, and count it.

    Raises TooManyRequests while the name has to wait, or the address, or what is known of the name at the address.
    """
    name = f"name|{username[:_NAME_LENGTH]}"
    network = _network(address) if address else ""
    for pause in _PAUSES_SECONDS:
        try:
            return _begin(name, network)
        except TooManyRequests as refused:
            if int(refused.headers["Retry-After"]) > 1:
                raise
        time.sleep(pause)
    return _begin(name, network)


def _begin(name: str, network: str) -> Attempt:
    of_address, known = (f"address|{network}", f"{table.KNOWN}{network}|{name}") if network else ("", "")
    found = table.read([source for source in (name, of_address, known) if source])
    if known in found:
        _count(known, found, _OF_KNOWN)
        return Attempt(known, "", known, found)
    _refuse_early(of_address, found, _OF_ADDRESS)
    _count(name, found, _OF_NAME)
    # Guesses at one name are few enough by its own limit: a machine with an old password does not use up its address's.
    counts = bool(of_address) and (name not in found or found[name].number < _OF_NAME.free)
    if counts:
        try:
            _count(of_address, found, _OF_ADDRESS)
        except TooManyRequests:
            table.give_back(name, found.get(name))
            raise
    return Attempt(name, of_address if counts else "", known, found)


@contextlib.contextmanager
def hashing(attempt: Attempt) -> Iterator[None]:
    """Hold one of the few places of this process where passwords are hashed, each of which takes memory and a core.

    Raises TooManyRequests when none is free in a moment: the attempt does not count then.
    """
    if not _hashing.acquire(timeout=_HASH_WAIT_SECONDS):
        attempt.withdrawn()
        _refuse(1)
    try:
        yield
    finally:
        _hashing.release()


def _count(source: str, found: dict[str, Failures], limit: Limit) -> None:
    """Raises TooManyRequests when the attempt has to wait, or others that came at the same time went first."""
    _refuse_early(source, found, limit)
    if not table.count(source, found.get(source), limit.free):
        _refuse(1)


def _refuse_early(source: str, found: dict[str, Failures], limit: Limit) -> None:
    before = found.get(source)
    if before is None:
        return
    seconds = before.last + limit.wait(before.number) - int(time.time())
    if seconds > 0:
        _refuse(seconds)


def _refuse(seconds: int) -> NoReturn:
    raise TooManyRequests("too many failed logins: wait", headers={"Retry-After": str(seconds)})


def _network(address: str) -> str:
    """What counts as one address: an IPv4 address, however it is written, or an IPv6 network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_ADDRESS_LENGTH]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False).network_address)
