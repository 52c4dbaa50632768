"""The Accounts table's counters: numbers that are given out once."""

from __future__ import annotations

from chalicelib.storage import tables

COUNTER = "counter"


def next_number(kind: str, least: int) -> int:
    """A number above `least` that nothing of this kind had before."""
    counter = tables.AccountCounterItem(COUNTER, kind)
    counter.update(actions=[tables.AccountCounterItem.last.set((tables.AccountCounterItem.last | least) + 1)])
    return int(counter.last)
