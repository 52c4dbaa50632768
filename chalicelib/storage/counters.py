"""Numbers that are given out once: a counter for each kind of record, in the table that keeps the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.storage import tables

if TYPE_CHECKING:
    from chalicelib.storage.tables import AccountCounterItem, JobCounterItem, ProjectCounterItem

_COUNTER = "counter"


def account_number(kind: str, least: int = 0) -> int:
    """A number above `least` that nothing of this kind in the Accounts table had before."""
    return _next(tables.AccountCounterItem(_COUNTER, kind), least)


def project_number(kind: str) -> int:
    """A number that nothing of this kind in the Projects table had before."""
    return _next(tables.ProjectCounterItem(_COUNTER, kind))


def job_number(kind: str) -> int:
    """A number that nothing of this kind in the Jobs table had before."""
    return _next(tables.JobCounterItem(_COUNTER, kind))


def _next(counter: AccountCounterItem | JobCounterItem | ProjectCounterItem, least: int = 0) -> int:
    """Numbers of writes that fail afterwards are lost."""
    last = type(counter).last
    counter.update(actions=[last.set((last | least) + 1)])
    return int(counter.last)
