"""The Jobs table: the line to its upstream registry that all fills of a project share, where its bandwidth is limited.

The item says until when it is booked. Whoever wants to receive for a while books that behind those before.
"""

from __future__ import annotations

from chalicelib import retrying
from chalicelib.oci.errors import Unavailable
from chalicelib.storage import tables
from chalicelib.storage.conditions import now, write_if

_PREFIX, _LINE = "bandwidth|", "line"
_KEPT_SECONDS = 86_400


def book(project_id: int, seconds: float) -> float:
    """Book a project's line for so long. Returns in how many seconds that will be over. Raises Unavailable."""
    length = max(1, round(seconds * 1000))
    item = tables.BandwidthItem(f"{_PREFIX}{project_id}", _LINE)
    until, kept = tables.BandwidthItem.until, tables.BandwidthItem.expires
    for _ in retrying.attempts(retrying.MEDIUM):
        present = now()
        keep = kept.set(present // 1000 + _KEPT_SECONDS)
        if write_if(item.update, actions=[until.add(length), keep], condition=until > present):
            return (item.until - present) / 1000
        free = until.does_not_exist() | (until <= present)
        if write_if(item.update, actions=[until.set(present + length), keep], condition=free):
            return length / 1000
    raise Unavailable("the bandwidth of a project is being booked by others")
