"""The Projects table: what pulls through a proxy project came to, summed since the project was made."""

from __future__ import annotations

from dataclasses import dataclass, fields

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import write_if
from chalicelib.storage.reads import Key
from chalicelib.storage.tables.keys import padded

_TRAFFIC = "traffic"


@dataclass(frozen=True)
class Traffic:
    """`requests` are clients', for manifests, blobs and lists. Those for the first two are `hits` or `misses`.

    `upstream_requests` are what they and refreshes led to, a blob counting once. `saved_bytes` are the bytes that
    clients got without those that were fetched: fewer than none until what was fetched is pulled.
    """

    requests: int = 0
    hits: int = 0
    misses: int = 0
    upstream_requests: int = 0
    saved_bytes: int = 0

    @property
    def saved_requests(self) -> int:
        """What a proxy that keeps nothing would have asked upstream besides: a request for each of a client's."""
        return max(0, self.requests - self.upstream_requests)

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(*(getattr(self, name) + getattr(other, name) for name in _NAMES))


_NAMES = tuple(field.name for field in fields(Traffic))


def add(project_id: int, traffic: Traffic) -> None:
    actions = [getattr(tables.TrafficItem, name).add(getattr(traffic, name)) for name in _NAMES]
    write_if(tables.TrafficItem(_partition(project_id), _TRAFFIC).update, actions=actions)


def read(project_id: int) -> Traffic:
    item = reads.get_item(Key(settings().projects_table, _partition(project_id), _TRAFFIC)) or {}
    return Traffic(*(item.get(name, 0) for name in _NAMES))


def delete(project_id: int) -> None:
    tables.TrafficItem(_partition(project_id), _TRAFFIC).delete()


def _partition(project_id: int) -> str:
    return f"{_TRAFFIC}|{padded(project_id)}"
