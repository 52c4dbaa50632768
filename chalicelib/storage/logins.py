"""The Accounts table: how often logins failed lately, by name and by address."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import holds
from chalicelib.storage.reads import Key

if TYPE_CHECKING:
    from pynamodb.expressions.condition import Condition

FAILURES = "failures"

_FORGET_SECONDS = 3600
"""After so long without another one, failed logins are forgotten."""

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


def count(source: str, before: Failures | None) -> int:
    """Note one more failed login. Returns how many there are now, with those that others note at the same time."""
    present = int(time.time())
    if before is None and (number := _begin(source, present)):
        return number
    forgiven = before.forgiven(present) if before else 0
    # What is forgiven is so once: of several who fail at once only the first finds it so.
    if before and forgiven and (number := _add(source, 1 - forgiven, tables.FailuresItem.last == before.last)):
        return number
    return _add(source, 1)


def give_back(source: str, before: Failures | None) -> None:
    """Take back one failure that was noted and was none: the last one was when it was before."""
    actions: list[Any] = [tables.FailuresItem.failed.add(-1)]
    if before is not None:
        actions.append(tables.FailuresItem.last.set(before.last))
    holds(tables.FailuresItem(FAILURES, source).update, actions=actions, condition=tables.FailuresItem.failed > 0)


def forget(source: str) -> None:
    tables.FailuresItem(FAILURES, source).delete()


def remember(source: str, seconds: int) -> None:
    """Keep `source` for so long, with no failure."""
    present = int(time.time())
    tables.FailuresItem(FAILURES, source, failed=0, last=present, expires=present + seconds).save()


def _begin(source: str, present: int) -> int:
    """Note the first failure, in place of what has expired. Returns 1, or 0 when another has noted one meanwhile."""
    item = tables.FailuresItem(FAILURES, source, failed=1, last=present, expires=present + _FORGET_SECONDS)
    free = tables.FailuresItem.pk.does_not_exist() | (tables.FailuresItem.expires <= present)
    return int(holds(item.save, condition=free))


def _add(source: str, failures: int, condition: Condition | None = None) -> int:
    """Add failures. Returns how many there are then; 0 when the condition did not hold."""
    present = int(time.time())
    item = tables.FailuresItem(FAILURES, source)
    actions = [
        tables.FailuresItem.failed.add(failures),
        tables.FailuresItem.last.set(present),
        tables.FailuresItem.expires.set(present + _FORGET_SECONDS),
    ]
    return int(item.failed) if holds(item.update, actions=actions, condition=condition) else 0
