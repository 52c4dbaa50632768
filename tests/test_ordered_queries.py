"""The ordered queries of the benchmark's cloud: the same answers as MiniStack's own, in the time of a page."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from ministack.services import dynamodb

from tests.bench import ordered_queries

TABLE = "ordered-queries"
Query = Callable[[dict[str, Any]], Any]


@pytest.fixture
def own() -> Iterator[Query]:
    """MiniStack's own Query, while the ordered one is installed, and a table."""
    original, evaluate = dynamodb._query, dynamodb._evaluate_condition
    keys = [("pk", "HASH"), ("sk", "RANGE")]
    table = {
        "TableName": TABLE,
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        "BillingMode": "PAY_PER_REQUEST",
    }
    assert dynamodb._create_table(table)[0] == 200
    ordered_queries.install()
    yield original
    dynamodb._query, dynamodb._evaluate_condition = original, evaluate
    dynamodb._delete_table({"TableName": TABLE})


def put(sk: str, size: int = 10) -> None:
    item = {"pk": {"S": "p"}, "sk": {"S": sk}, "content": {"S": "x" * size}}
    assert dynamodb._put_item({"TableName": TABLE, "Item": item})[0] == 200


def query(**more: Any) -> dict[str, Any]:
    values = {":pk": {"S": "p"}, **more.pop("values", {})}
    return {"TableName": TABLE, "KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": values, **more}


def answer(run: Query, request: dict[str, Any]) -> Any:
    status, _, body = run(request)
    return status, json.loads(body)


def requests(keys: list[str]) -> Iterator[dict[str, Any]]:
    prefix = {"KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)", "values": {":prefix": {"S": "b"}}}
    between = {
        "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
        "values": {":first": {"S": "a5"}, ":last": {"S": "b5"}},
    }
    none = {"KeyConditionExpression": prefix["KeyConditionExpression"], "values": {":prefix": {"S": "nobody"}}}
    starts = [{}, *({"ExclusiveStartKey": {"pk": {"S": "p"}, "sk": {"S": key}}} for key in [*keys, "b", "a55", "zz"])]
    limits: list[dict[str, Any]] = [{}, {"Limit": 1}, {"Limit": 7}, {"Limit": 1000}]
    counts: list[dict[str, Any]] = [{}, {"Select": "COUNT"}]
    ways: list[dict[str, Any]] = [{}, {"ScanIndexForward": False}]
    conditions: list[dict[str, Any]] = [{}, prefix, between, none]
    for parts in product(conditions, starts, limits, ways, counts):
        yield query(**{name: value for part in parts for name, value in part.items()})


def test_answers_are_ministacks_own(own: Query) -> None:
    chance = random.Random(5)
    for _ in range(150):
        put(f"{chance.choice('abc')}{chance.randrange(100)}")
    put("b\u00e9")
    for request in requests(["a50", "b20", "c99"]):
        assert answer(dynamodb._query, request) == answer(own, request), request


def test_pages_end_at_a_megabyte_as_ministacks_do(own: Query) -> None:
    for index in range(12):
        put(f"k{index:02d}", 300_000)
    for request in (query(), query(Limit=5), query(ScanIndexForward=False), query(Limit=3)):
        assert answer(dynamodb._query, request) == answer(own, request)


def test_what_is_written_and_deleted_after_a_query_is_seen(own: Query) -> None:
    put("b")
    assert answer(dynamodb._query, query())[1]["Count"] == 1
    put("a")
    assert [item["sk"]["S"] for item in answer(dynamodb._query, query())[1]["Items"]] == ["a", "b"]
    for sk in "ab":
        dynamodb._delete_item({"TableName": TABLE, "Key": {"pk": {"S": "p"}, "sk": {"S": sk}}})
    assert answer(dynamodb._query, query()) == answer(own, query())


def test_faults_are_ministacks_own(own: Query) -> None:
    for wrong in ({"TableName": "nobodys"}, {"values": {}}, {"Limit": 0}, {"values": {":pk": {"N": "1"}}}):
        request = query() | wrong if "values" not in wrong else query() | {"ExpressionAttributeValues": wrong["values"]}
        assert answer(dynamodb._query, request) == answer(own, request)


def test_a_page_of_a_large_partition_takes_no_longer_than_one_of_a_small(own: Query) -> None:
    for index in range(20_000):
        put(f"{index:06d}")
    dynamodb._query(query(Limit=10))
    started = time.perf_counter()
    for _ in range(20):
        dynamodb._query(query(Limit=10))
    ordered = (time.perf_counter() - started) / 20
    started = time.perf_counter()
    own(query(Limit=10))
    assert ordered < (time.perf_counter() - started) / 10
