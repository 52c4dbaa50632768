"""The Accounts table: how often logins failed lately, by name and by address, and where which names have succeeded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import write_if
from chalicelib.storage.reads import Key

FAILURES = "failures"
KNOWN = "known|"
"""What the sources begin with of names that have succeeded at an address."""

_FORGET_SECONDS = 3600
"""After so long without another one, failed logins are forgotten."""

_REMEMBER_SECONDS = 30 * 86400
"""After so long without another one, a success is forgotten."""

_FORGIVE_SECONDS = 120
"""One failure is forgiven for each such time that passes until the next, so that an address which many people share is
not kept waiting for ever by the mistakes that they make now and then."""


@dataclass(frozen=True)
class Failures:
    """How many logins failed, less what was forgiven by the last one, and when that was, in seconds since 1970."""

    number: int
    last: int

    def forgiven(self, present: int) -> int:
        return min(self.number, (present - self.last) // _FORGIVE_SECONDS)


def read(sources: Sequence[str]) -> dict[str, Failures]:
    """What there is of each of `sources`: its failures, none for one that has only succeeded."""
    keys = {Key(settings().accounts_table, FAILURES, source): source for source in sources}
    found = reads.get_items(keys, ("failed", "last", "expires"))
    present = time.time()
    # DynamoDB drops within days what has expired: until then it does not count.
    return {
        keys[key]: Failures(item["failed"], item["last"]) for key, item in found.items() if item["expires"] > present
    }


def count(source: str, before: Failures | None, free: int) -> bool:
    """Note one more failed login, `before` being what was read. False when others that came meanwhile used up the room.

    Fewer than `free` failures may be added to at once; what comes after them is one login at a time.
    """
    present = int(time.time())
    item, field = tables.FailuresItem(FAILURES, source), tables.FailuresItem
    times = [field.last.set(present), field.expires.set(present + _expiry_seconds(source))]
    if before is not None and (before.number >= free or before.forgiven(present)):
        # What is forgiven is so once: of several who fail at once only the first finds it so.
        number = before.number - before.forgiven(present) + 1
        unchanged = (field.failed == before.number) & (field.last == before.last)
        if write_if(item.update, actions=[field.failed.set(number), *times], condition=unchanged):
            return True
    elif before is None and write_if(
        item.update,
        actions=[field.failed.set(1), *times],
        condition=field.failed.does_not_exist() | (field.expires <= present),
    ):
        return True
    return write_if(item.update, actions=[field.failed.add(1), *times], condition=field.failed < free)


def give_back(source: str, before: Failures | None) -> None:
    """Take back what `count` has added, `before` being what was read before that."""
    item, field = tables.FailuresItem(FAILURES, source), tables.FailuresItem
    last = [field.last.set(before.last)] if before is not None else []
    write_if(item.update, actions=[field.failed.add(-1), *last], condition=field.failed > 0)


def remember(source: str, before: Failures | None = None) -> None:
    """Note a success, for which one failure is forgiven beside the one that `count` has added to `before`."""
    present = int(time.time())
    item, field = tables.FailuresItem(FAILURES, source), tables.FailuresItem
    last = field.last.set(before.last if before is not None else present)
    times = [last, field.expires.set(present + _expiry_seconds(source))]
    for number in (2, 1) if before is not None else ():
        if write_if(item.update, actions=[field.failed.add(-number), *times], condition=field.failed >= number):
            return
    write_if(item.update, actions=[field.failed.set(0), *times], condition=field.failed.does_not_exist())


def forget(source: str) -> None:
    tables.FailuresItem(FAILURES, source).delete()


def _expiry_seconds(source: str) -> int:
    return _REMEMBER_SECONDS if source.startswith(KNOWN) else _FORGET_SECONDS
