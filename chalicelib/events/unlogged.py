"""The Accounts table: the types of events that the audit log leaves out, by the configuration.

Read here, and not by chalicelib/access/configuration.py, because every event that is written asks for it.
"""

from __future__ import annotations

import json

from chalicelib.settings import settings
from chalicelib.storage import reads
from chalicelib.storage.reads import Key
from chalicelib.storage.tables.keys import CONFIGURATION, SYSTEM
from chalicelib.timed_cache import TimedCache

DISABLED_TYPES = "disabled_audit_log_event_types"
"""Harbor's key: names such as `pull_artifact`, separated by commas."""

_KNOWN_SECONDS = 30

_cache: TimedCache[str, frozenset[str]] = TimedCache(1)


def types() -> frozenset[str]:
    """As they were at most 30 seconds ago: one read then, none until."""
    cached = _cache.get("")
    return cached[0] if cached else _cache.put("", _read(), _KNOWN_SECONDS)


def forget() -> None:
    """The configuration has changed."""
    _cache.clear()


def names(text: str) -> frozenset[str]:
    """The types that the key's value names."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _read() -> frozenset[str]:
    item = reads.get_item(Key(settings().accounts_table, CONFIGURATION, SYSTEM), ("values",))
    return names(json.loads(item["values"]).get(DISABLED_TYPES, "")) if item else frozenset()
