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


def count(source: str, before: Failures | None) -> None:
    """Note one more failed login."""
    present = int(time.time())
    item = tables.FailuresItem(FAILURES, source, failed=1, last=present, expires=present + _FORGET_SECONDS)
    if before is None:
        item.save()
        return

    def add(failures: int, condition: Condition | None = None) -> bool:
        actions = [
            tables.FailuresItem.failed.add(failures),
            tables.FailuresItem.last.set(present),
            tables.FailuresItem.expires.set(present + _FORGET_SECONDS),
        ]
        return holds(item.update, actions=actions, condition=condition)

    forgiven = before.forgiven(present)
    # What is forgiven is so once: of several who fail at once only the first finds it so.
    if not forgiven or not add(1 - forgiven, tables.FailuresItem.last == before.last):
        add(1)


def forget(source: str) -> None:
    tables.FailuresItem(FAILURES, source).delete()
