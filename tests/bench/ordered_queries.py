"""Lets MiniStack answer a Query in the time that its page takes, not in that of the whole partition.

MiniStack sorts a partition for every Query and evaluates the condition on each item: 0.1 ms an item, ten seconds for
100,000. Here each partition that is queried keeps its sort keys in order, and MiniStack's own code is given only the
items that can be in the answer: what it says of them stays its business (docs/decisions/ordered-queries.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from sortedcontainers import SortedDict

_PAGE_BYTES = 1 << 20
"""Where a page of DynamoDB ends."""

_WHOLE = "pk = :pk"
_PREFIX = "pk = :pk AND begins_with(sk, :prefix)"
_RANGE = "pk = :pk AND sk BETWEEN :first AND :last"
_HIGHEST = "\U0010ffff"


def install() -> None:
    """Put this in front of MiniStack's Query, for conditions as chalicelib/storage/reads.py writes them."""
    from ministack.services import dynamodb

    answer, evaluate = dynamodb._query, dynamodb._evaluate_condition
    given: dict[str, Any] = {}

    def query(data: dict[str, Any]) -> Any:
        condition = data.get("KeyConditionExpression")
        if condition not in (_WHOLE, _PREFIX, _RANGE) or "IndexName" in data:
            return answer(data)
        with dynamodb._lock:  # a thread of MiniStack's drops what has expired
            table = dynamodb._tables.get(dynamodb._normalize_table_name(data["TableName"]))
            values = data.get("ExpressionAttributeValues", {})
            key = values.get(":pk", {}).get("S")
            partition = table["items"].get(key) if table else None
            if not partition:
                return answer(data)
            if not isinstance(partition, SortedDict):
                partition = SortedDict(partition)
            given.update(_page(partition, condition, values, data, dynamodb._item_size_bytes))
            table["items"][key] = dict(given)
            try:
                return answer(data)
            finally:
                table["items"][key] = partition
                given.clear()

    def evaluated(expression: str, item: dict[str, Any], *rest: Any, **more: Any) -> Any:
        """What is given fulfils the key's condition already."""
        is_given = more.get("slot") == "KeyConditionExpression" and given.get(item.get("sk", {}).get("S")) is item
        return is_given or evaluate(expression, item, *rest, **more)

    dynamodb._query = query
    dynamodb._evaluate_condition = evaluated


def _page(
    partition: SortedDict[str, Any], condition: str, values: dict[str, Any], data: dict[str, Any], size_of: Any
) -> Iterator[tuple[str, Any]]:
    """The items that a page can hold, and one more."""
    first, last = _bounds(condition, values)
    forward = data.get("ScanIndexForward", True)
    after = data.get("ExclusiveStartKey", {}).get("sk", {}).get("S")
    if after is not None:
        first, last = (max(first, after), last) if forward else (first, min(last, after))
    size = 0
    for index, key in zip(count(), partition.irange(first, last, reverse=not forward), strict=False):
        if index > data.get("Limit", index) or size > _PAGE_BYTES:
            return
        if key != after:
            size += size_of(partition[key])
            yield key, partition[key]


def _bounds(condition: str, values: dict[str, Any]) -> tuple[str, str]:
    if condition == _PREFIX:
        prefix = values.get(":prefix", {}).get("S", "")
        return prefix, f"{prefix}{_HIGHEST}"
    if condition == _RANGE:
        return values.get(":first", {}).get("S", ""), values.get(":last", {}).get("S", "")
    return "", _HIGHEST
