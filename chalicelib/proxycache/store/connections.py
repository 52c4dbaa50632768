"""The Jobs table: the places that a project's connections to its upstream registry take, where their number is limited.

A place is had for a time, so that who dies with one does not keep it.
"""

from __future__ import annotations

import random

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import new_id, now, write_if

_PREFIX = "connections|"
_SPREAD = 8
"""How many free places are tried: those who come at once then seldom want the same one."""


def take(project_id: int, limit: int, seconds: float) -> tuple[int, str] | None:
    """One of `limit` places for `seconds`: its number, and whose it is now. None when all are taken."""
    partition, present = f"{_PREFIX}{project_id}", now()
    items = reads.query_all(settings().jobs_table, partition, "", ("until",))
    taken = {int(item["sk"]) for item in items if item["until"] > present}
    free = [number for number in range(min(limit, len(taken) + _SPREAD)) if number not in taken]
    random.shuffle(free)
    until, holder = present + round(seconds * 1000), new_id()
    for number in free:
        item = tables.PlaceItem(partition, str(number), until=until, holder=holder, expires=until // 1000 + 60)
        if write_if(item.save, condition=tables.PlaceItem.pk.does_not_exist() | (tables.PlaceItem.until <= present)):
            return number, holder
    return None


def leave(project_id: int, number: int, holder: str) -> None:
    """Give a place back, unless it is another's already."""
    write_if(
        tables.PlaceItem(f"{_PREFIX}{project_id}", str(number)).delete, condition=tables.PlaceItem.holder == holder
    )
