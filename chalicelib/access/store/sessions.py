"""The Accounts table: what a browser is remembered by between requests, dropped by TTL.

The browser holds a random name; the item is under its digest, so that nobody can act as a user by reading the table.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import write_if
from chalicelib.storage.reads import Key

SESSION_PREFIX = "session|"


def create(name: str, kind: str, content: Mapping[str, Any], seconds: int) -> bool:
    """Remember `content` for `seconds`. False when something of this kind is remembered under `name` already."""
    item = tables.SessionItem(_partition(name), kind, content=dict(content), expires=int(time.time()) + seconds)
    return write_if(item.save, condition=tables.SessionItem.pk.does_not_exist())


def read(name: str, kind: str) -> tuple[dict[str, Any], int] | None:
    """What is remembered, and until when, in seconds since 1970. DynamoDB drops late: until then it is not there."""
    item = reads.get_item(Key(settings().accounts_table, _partition(name), kind))
    if item is None or item["expires"] <= time.time():
        return None
    return json.loads(item["content"]), item["expires"]


def extend(name: str, kind: str, seconds: int) -> None:
    """Remember for `seconds` from now, if it is remembered still."""
    actions = [tables.SessionItem.expires.set(int(time.time()) + seconds)]
    write_if(
        tables.SessionItem(_partition(name), kind).update, actions=actions, condition=tables.SessionItem.pk.exists()
    )


def delete(name: str, kind: str) -> bool:
    """Forget. False when there was nothing: of several who do so at once, one gets True."""
    return write_if(tables.SessionItem(_partition(name), kind).delete, condition=tables.SessionItem.pk.exists())


def _partition(name: str) -> str:
    return f"{SESSION_PREFIX}{hashlib.sha256(name.encode()).hexdigest()}"
