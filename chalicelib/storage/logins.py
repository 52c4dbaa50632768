"""The Accounts table: how often logins failed lately, by name and by address."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import holds
from chalicelib.storage.reads import Key

if TYPE_CHECKING:
    from pynamodb.expressions.condition import Condition

FAILURES = "failures"

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
    """The failed logins of each of `sources` that has some."""
    keys = {Key(settings().accounts_table, FAILURES, source): source for source in sources}
    found = reads.get_items(keys, ("failed", "last", "expires"))
    present = time.time()
    # DynamoDB drops within days what has expired: until then it does not count.
    return {
        keys[key]: Failures(item["failed"], item["last"]) for key, item in found.items() if item["expires"] > present
    }


def count(source: str, before: Failures | None, *, free: int, seconds: int) -> Failures | None:
    """Note one more failed login, to be forgotten after so many seconds without another.

    Returns what is there now; None, with nothing written, when others have noted failures since `before` was read, and
    there are `free` or more: whoever fails at the same time is not tried at the same time.
    """
    present = int(time.time())
    item = tables.FailuresItem(FAILURES, source)
    if before is None:
        began = tables.FailuresItem(FAILURES, source, failed=1, last=present, expires=present + seconds)
        if holds(began.save, condition=_is_gone(present)):
            return Failures(1, present)

    def add(failures: int, condition: Condition) -> Failures | None:
        actions = [
            tables.FailuresItem.failed.add(failures),
            tables.FailuresItem.last.set(present),
            tables.FailuresItem.expires.set(present + seconds),
        ]
        written = holds(item.update, actions=actions, condition=condition)
        return Failures(int(item.failed), present) if written else None

    if before is not None and (after := add(1 - before.forgiven(present), _is(before))):
        return after
    return add(1, tables.FailuresItem.failed < free)


def give_back(source: str, before: Failures | None, after: Failures) -> None:
    """Take back a failure that was noted and was none. As it was, unless others have noted some since."""
    item = tables.FailuresItem(FAILURES, source)
    restored = [
        tables.FailuresItem.failed.set(before.number if before else 0),
        tables.FailuresItem.last.set(before.last if before else after.last),
    ]
    if not holds(item.update, actions=restored, condition=_is(after)):
        holds(item.update, actions=[tables.FailuresItem.failed.add(-1)], condition=tables.FailuresItem.failed > 0)


def forget(source: str) -> None:
    tables.FailuresItem(FAILURES, source).delete()


def remember(source: str, seconds: int) -> None:
    """Keep `source` for so long, with no failure."""
    present = int(time.time())
    tables.FailuresItem(FAILURES, source, failed=0, last=present, expires=present + seconds).save()


def _is_gone(present: int) -> Condition:
    gone: Condition = tables.FailuresItem.pk.does_not_exist() | (tables.FailuresItem.expires <= present)
    return gone


def _is(failures: Failures) -> Condition:
    same: Condition = (tables.FailuresItem.failed == failures.number) & (tables.FailuresItem.last == failures.last)
    return same
