"""The Jobs table: what upstream registries replied lately, who is asking them, and which tags wait for a manifest.

All containers share it, so that what many clients ask for at once is asked upstream once. DynamoDB drops it by TTL.
An `origin` is a repository as a project has it from one upstream registry (chalicelib/proxycache/sources.py).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import new_id, now, write_if
from chalicelib.storage.reads import Item, Key

REPLIES_PREFIX = "upstream|"
WAITING_PREFIX = "waiting|"

SIZE_LIMIT = 350 * 1024
"""Bytes of a reply, compressed, that fit an item beside its other fields (DynamoDB: 400 KB)."""

_WAITING_SECONDS = 3600


@dataclass(frozen=True)
class CachedReply:
    """How far a question is. Times are milliseconds since 1970."""

    version: str = ""
    """Fresh with every reply; empty before the first."""
    reply: Mapping[str, Any] | None = None
    fresh_until: int = 0
    turn_until: int = 0
    """Until then somebody is asking; 0 when nobody is."""
    size: int = 0
    """The reply's, in bytes of JSON."""


def read(origin: str, question: str) -> CachedReply:
    item = reads.get_item(_key(origin, question))
    return _to_asked(item) if item else CachedReply()


def read_each(origin: str, questions: Iterable[str]) -> dict[str, CachedReply]:
    """Those of the questions that were ever asked."""
    items = reads.get_items(_key(origin, question) for question in questions)
    return {key.sk: _to_asked(item) for key, item in items.items()}


def acquire_refresh(origin: str, question: str, before: CachedReply, seconds: float) -> str:
    """Be the one who asks, for `seconds`. Returns the turn, empty when it is another's or there is a new reply."""
    turn, present = new_id(), now()
    is_free = tables.ReplyItem.turn_until.does_not_exist() | (tables.ReplyItem.turn_until < present)
    is_same = (
        tables.ReplyItem.version == before.version if before.version else tables.ReplyItem.version.does_not_exist()
    )
    taken = write_if(
        tables.ReplyItem(f"{REPLIES_PREFIX}{origin}", question).update,
        actions=[
            tables.ReplyItem.turn.set(turn),
            tables.ReplyItem.turn_until.set(present + round(seconds * 1000)),
            tables.ReplyItem.expires.set(_expiry(86_400)),
        ],
        condition=is_free & is_same,
    )
    return turn if taken else ""


def write(
    origin: str, question: str, turn: str, reply: Mapping[str, Any], fresh_seconds: float, kept_seconds: int
) -> int:
    """Give the reply, and the turn back; nothing happens when the turn has been another's since.

    A reply of more than SIZE_LIMIT bytes is not kept: only its asker has it. Returns its size in bytes of JSON.
    """
    plain = json.dumps(reply, separators=(",", ":")).encode()
    content = zlib.compress(plain)
    if len(content) > SIZE_LIMIT:
        release_refresh(origin, question, turn)
        return len(plain)
    write_if(
        tables.ReplyItem(f"{REPLIES_PREFIX}{origin}", question).update,
        actions=[
            tables.ReplyItem.version.set(turn),
            tables.ReplyItem.reply.set(content),
            tables.ReplyItem.fresh_until.set(now() + round(fresh_seconds * 1000)),
            tables.ReplyItem.expires.set(_expiry(kept_seconds)),
            tables.ReplyItem.turn.remove(),
            tables.ReplyItem.turn_until.remove(),
        ],
        condition=tables.ReplyItem.turn == turn,
    )
    return len(plain)


def release_refresh(origin: str, question: str, turn: str) -> None:
    """Let another ask at once."""
    write_if(
        tables.ReplyItem(f"{REPLIES_PREFIX}{origin}", question).update,
        actions=[tables.ReplyItem.turn.remove(), tables.ReplyItem.turn_until.remove()],
        condition=tables.ReplyItem.turn == turn,
    )


def wait_for(origin: str, digest: str, tag: str) -> None:
    """Note for an hour that `tag` is to point at a manifest which its repository does not hold yet."""
    sort_key = f"{WAITING_PREFIX}{digest}|{tag}"
    tables.WaitingTagItem(f"{REPLIES_PREFIX}{origin}", sort_key, expires=_expiry(_WAITING_SECONDS)).save()


def waiting(origin: str, digest: str) -> list[str]:
    """The tags that wait for a manifest."""
    prefix = f"{WAITING_PREFIX}{digest}|"
    items = reads.query_all(settings().jobs_table, f"{REPLIES_PREFIX}{origin}", prefix, ("expires",))
    return [item["sk"].removeprefix(prefix) for item in items if item["expires"] * 1000 > now()]


def _key(origin: str, question: str) -> Key:
    return Key(settings().jobs_table, f"{REPLIES_PREFIX}{origin}", question)


def _expiry(seconds: int) -> int:
    return now() // 1000 + seconds


def _to_asked(item: Item) -> CachedReply:
    plain = zlib.decompress(item["reply"]) if "reply" in item else b"null"
    times = item.get("fresh_until", 0), item.get("turn_until", 0)
    return CachedReply(item.get("version", ""), json.loads(plain), *times, size=len(plain))
