"""The Accounts table: how often logins failed lately, by name and by address."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.settings import settings
from chalicelib.storage import reads
from chalicelib.storage.reads import Key
from chalicelib.storage.tables.accounts import FailuresItem

FAILURES = "failures"

_FORGET_SECONDS = 3600
"""After so long without another one, failed logins are forgotten."""


@dataclass(frozen=True)
class Failures:
    """How many logins failed, and when the last one did, in seconds since 1970."""

    number: int
    last: int


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
    item = FailuresItem(FAILURES, source, failed=1, last=present, expires=present + _FORGET_SECONDS)
    if before is None:
        item.save()
        return
    item.update(
        actions=[
            FailuresItem.failed.add(1),
            FailuresItem.last.set(present),
            FailuresItem.expires.set(present + _FORGET_SECONDS),
        ]
    )


def forget(source: str) -> None:
    FailuresItem(FAILURES, source).delete()
