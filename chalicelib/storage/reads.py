"""Strongly consistent point reads of DynamoDB, for the requests that a registry serves most.

A pull needs no botocore client, which costs 200 ms to make and 2 ms of CPU a call (docs/decisions/lean-reads.md).
Everything that writes goes through PynamoDB. Raises Unavailable when DynamoDB does not answer in time.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.oci.errors import TooMuchToRead, Unavailable
from chalicelib.storage import aws_json
from chalicelib.storage.aws_json import RETRY_SECONDS

BATCH_LIMIT = 100
"""Keys a BatchGetItem takes (DynamoDB quota)."""

_PARTITION_KEY_BYTES = 2048
_SORT_KEY_BYTES = 1024
"""What a key has at most, and at least one (DynamoDB quota). A longer one is refused as an invalid request."""

Value = Any
Item = dict[str, Value]


@dataclass(frozen=True)
class Key:
    """A table's name and an item's key."""

    table: str
    pk: str
    sk: str

    @property
    def is_possible(self) -> bool:
        """Whether an item can have it. A name that a client sends need not be checked before it is looked for."""
        return _is_possible(self.pk, _PARTITION_KEY_BYTES) and _is_possible(self.sk, _SORT_KEY_BYTES)


def get_item(key: Key, attributes: Sequence[str] = ()) -> Item | None:
    """The item under `key`, or None. `attributes` limits what comes back (all, when empty)."""
    if not key.is_possible:
        return None
    request = {"TableName": key.table, "Key": _encode_key(key), "ConsistentRead": True, **_projection(attributes)}
    item = _call("GetItem", request).get("Item")
    return None if item is None else decode_item(item)


def get_items(keys: Iterable[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
    """The items under `keys` that exist, by key: one call for each hundred keys."""
    wanted = [key for key in dict.fromkeys(keys) if key.is_possible]
    found: dict[Key, Item] = {}
    for start in range(0, len(wanted), BATCH_LIMIT):
        pending = _batch(wanted[start : start + BATCH_LIMIT], attributes)
        deadline = time.monotonic() + RETRY_SECONDS
        while pending:
            answer = _call("BatchGetItem", {"RequestItems": pending})
            for table, items in answer.get("Responses", {}).items():
                for raw in items:
                    item = decode_item(raw)
                    found[Key(table, item["pk"], item["sk"])] = item
            pending = answer.get("UnprocessedKeys") or {}
            if pending and time.monotonic() > deadline:
                raise Unavailable("the metadata store is throttled")
    return found


def query(
    table: str,
    pk: str,
    prefix: str,
    *,
    after: str = "",
    limit: int = 0,
    attributes: Sequence[str] = (),
    descending: bool = False,
) -> tuple[list[Item], str]:
    """One page of the items of partition `pk` whose sort key starts with `prefix`, in its order or the reverse.

    `after` is the sort key to start behind; DynamoDB wants it to start with `prefix` too. Returns the items and the
    sort key to go on behind, empty at the end.
    """
    if not _is_possible(pk, _PARTITION_KEY_BYTES) or not _is_possible(prefix or "-", _SORT_KEY_BYTES):
        return [], ""
    request: dict[str, Any] = {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": pk}},
        "ConsistentRead": True,
        **_projection(attributes),
    }
    if prefix:
        request["KeyConditionExpression"] += " AND begins_with(sk, :prefix)"
        request["ExpressionAttributeValues"][":prefix"] = {"S": prefix}
    return _page(request, pk, after, limit, descending=descending)


def query_range(
    table: str, pk: str, first: str, last: str, *, after: str = "", limit: int = 0, descending: bool = False
) -> tuple[list[Item], str]:
    """One page of the items of partition `pk` whose sort keys are from `first` to `last`, as `query` answers."""
    return _page(_range(table, pk, first, last), pk, after, limit, descending=descending)


def _page(request: dict[str, Any], pk: str, after: str, limit: int, *, descending: bool) -> tuple[list[Item], str]:
    """What one call of a query answers, and where the next one goes on."""
    if after:
        request["ExclusiveStartKey"] = {"pk": {"S": pk}, "sk": {"S": _cut(after)}}
    if limit:
        request["Limit"] = limit
    if descending:
        request["ScanIndexForward"] = False
    answer = _call("Query", request)
    last = answer.get("LastEvaluatedKey")
    return [decode_item(raw) for raw in answer["Items"]], last["sk"]["S"] if last else ""


def count_range(table: str, pk: str, first: str, last: str) -> int:
    """How many items of partition `pk` have sort keys from `first` to `last`: one call a megabyte of them."""
    request = {**_range(table, pk, first, last), "Select": "COUNT"}
    total = 0
    while True:
        answer = _call("Query", request)
        total += int(answer["Count"])
        if "LastEvaluatedKey" not in answer:
            return total
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _range(table: str, pk: str, first: str, last: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
        "ExpressionAttributeValues": {":pk": {"S": pk}, ":first": {"S": _cut(first)}, ":last": {"S": _cut(last)}},
        "ConsistentRead": True,
    }


def query_page(table: str, pk: str, prefix: str, start: int, limit: int, *, descending: bool = False) -> list[Item]:
    """The items with the indexes `start` up to `start + limit` of those that `query` lists, or of the reverse.

    What is skipped is read too, as DynamoDB has it: the cost grows with `start`, not with what follows the page.
    """
    items: list[Item] = []
    skip, after = start, ""
    while True:
        found, after = query(table, pk, prefix, after=after, limit=skip + limit - len(items), descending=descending)
        items += found[skip:]
        skip = max(0, skip - len(found))
        if not after or len(items) >= limit:
            return items


def query_all(table: str, pk: str, prefix: str, attributes: Sequence[str] = (), *, most_calls: int = 0) -> list[Item]:
    """Every item of partition `pk` whose sort key starts with `prefix`.

    With `most_calls`, for requests whose caller may choose what there is to read: raises TooMuchToRead when there is
    more than so many calls answer, of a megabyte each.
    """
    items, after = query(table, pk, prefix, attributes=attributes)
    calls = 1
    while after:
        if calls == most_calls:
            raise TooMuchToRead("there is too much to filter or sort at once: ask for pages in the order of the list")
        page, after = query(table, pk, prefix, after=after, attributes=attributes)
        items += page
        calls += 1
    return items


def _is_possible(text: str, limit: int) -> bool:
    if not text:
        return False
    if text.isascii():
        return len(text) <= limit
    try:
        return len(text.encode()) <= limit
    except UnicodeEncodeError:
        return False


def _cut(text: str) -> str:
    """As much of a place among sort keys as a sort key can have: no item lies between the two."""
    if text.isascii():
        return text[:_SORT_KEY_BYTES]
    return text.encode(errors="replace")[:_SORT_KEY_BYTES].decode(errors="ignore")


def _batch(keys: Sequence[Key], attributes: Sequence[str]) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for key in keys:
        table = tables.setdefault(key.table, {"Keys": [], "ConsistentRead": True, **_projection(attributes)})
        table["Keys"].append(_encode_key(key))
    return tables


def _projection(attributes: Sequence[str]) -> dict[str, Any]:
    if not attributes:
        return {}
    names = {f"#{index}": name for index, name in enumerate(("pk", "sk", *attributes))}
    return {"ProjectionExpression": ",".join(names), "ExpressionAttributeNames": names}


def _encode_key(key: Key) -> dict[str, Any]:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def decode_item(raw: Mapping[str, Mapping[str, Any]]) -> Item:
    return {name: _decode(value) for name, value in raw.items()}


def _decode(value: Mapping[str, Any]) -> Value:
    [(kind, content)] = value.items()
    match kind:
        case "S" | "BOOL" | "SS":
            return content
        case "N":
            return int(content)
        case "B":
            return base64.b64decode(content)
        case "L":
            return [_decode(element) for element in content]
        case "M":
            return decode_item(content)
        case "NULL":
            return None
        case _:
            raise TypeError(f"no item of Berth's holds a DynamoDB {kind}")


def _call(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    return aws_json.call(aws_json.DYNAMODB, operation, request)
