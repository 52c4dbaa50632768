"""Strongly consistent point reads of DynamoDB, for the requests that a registry serves most.

A botocore client costs 200 ms to make and 2 ms of CPU a call; a pull needs neither. This reader signs with botocore's
SigV4 and sends with urllib3, and knows three operations (docs/decisions/lean-reads.md). Everything that writes, and
every read that is not on a pull's path, goes through PynamoDB.

Throttled and failed calls are tried again with jittered, growing pauses until `RETRY_SECONDS` have passed; then
Unavailable is raised (the client gets 503 with Retry-After).
"""

from __future__ import annotations

import base64
import json
import os
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.hooks import HierarchicalEmitter
from botocore.session import get_session

from chalicelib.registry.errors import Unavailable

RETRY_SECONDS = 8.0
"""How long a read is retried: well inside the gateway's 30 seconds."""

BATCH_LIMIT = 100
"""Keys a BatchGetItem takes (DynamoDB quota)."""

events = HierarchicalEmitter()
"""Emits `before-call.dynamodb.<Operation>` as a botocore client does, so that calls can be counted in one way."""

_TRANSIENT = (
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "InternalServerError",
    "TransactionInProgressException",
)

Value = Any
Item = dict[str, Value]


@dataclass(frozen=True)
class Key:
    """A table's name and an item's key."""

    table: str
    pk: str
    sk: str


def get_item(key: Key, attributes: Sequence[str] = ()) -> Item | None:
    """The item under `key`, or None. `attributes` limits what comes back (all, when empty)."""
    request = {"TableName": key.table, "Key": _encode_key(key), "ConsistentRead": True, **_projection(attributes)}
    item = _call("GetItem", request).get("Item")
    return None if item is None else _decode_item(item)


def get_items(keys: Iterable[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
    """The items under `keys` that exist, by key: one call for each hundred keys."""
    wanted = list(dict.fromkeys(keys))
    found: dict[Key, Item] = {}
    for start in range(0, len(wanted), BATCH_LIMIT):
        pending = _batch(wanted[start : start + BATCH_LIMIT], attributes)
        deadline = time.monotonic() + RETRY_SECONDS
        while pending:
            answer = _call("BatchGetItem", {"RequestItems": pending})
            for table, items in answer.get("Responses", {}).items():
                for raw in items:
                    item = _decode_item(raw)
                    found[Key(table, item["pk"], item["sk"])] = item
            pending = answer.get("UnprocessedKeys") or {}
            if pending and time.monotonic() > deadline:
                raise Unavailable("the metadata store is throttled")
    return found


def query(
    table: str, pk: str, prefix: str, *, after: str = "", limit: int = 0, attributes: Sequence[str] = ()
) -> tuple[list[Item], str]:
    """One page of the items of partition `pk` whose sort key starts with `prefix`, in its order.

    `after` is the sort key to start behind; DynamoDB wants it to start with `prefix` too. Returns the items and the sort key to go on behind, empty at the end.
    """
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
    if after:
        request["ExclusiveStartKey"] = {"pk": {"S": pk}, "sk": {"S": after}}
    if limit:
        request["Limit"] = limit
    answer = _call("Query", request)
    last = answer.get("LastEvaluatedKey")
    return [_decode_item(raw) for raw in answer["Items"]], last["sk"]["S"] if last else ""


def query_all(table: str, pk: str, prefix: str, attributes: Sequence[str] = ()) -> list[Item]:
    """Every item of partition `pk` whose sort key starts with `prefix`."""
    items, after = query(table, pk, prefix, attributes=attributes)
    while after:
        page, after = query(table, pk, prefix, after=after, attributes=attributes)
        items += page
    return items


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


def _decode_item(raw: Mapping[str, Mapping[str, Any]]) -> Item:
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
            return _decode_item(content)
        case "NULL":
            return None
        case _:
            raise TypeError(f"no item of Berth's holds a DynamoDB {kind}")


@cache
def _pool() -> urllib3.HTTPConnectionPool:
    """The connections to DynamoDB: kept open, and handed out to as many threads as ask."""
    pool = urllib3.connection_from_url(
        _endpoint(), maxsize=32, retries=False, timeout=urllib3.Timeout(connect=2, read=5)
    )
    assert isinstance(pool, urllib3.HTTPConnectionPool)  # noqa: S101 -- narrows the type for mypy
    return pool


@cache
def _endpoint() -> str:
    given = os.environ.get("AWS_ENDPOINT_URL_DYNAMODB") or os.environ.get("AWS_ENDPOINT_URL")
    suffix = "amazonaws.com.cn" if _region().startswith("cn-") else "amazonaws.com"
    return given or f"https://dynamodb.{_region()}.{suffix}"


@cache
def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ["AWS_DEFAULT_REGION"]


@cache
def _credentials() -> Credentials:
    credentials = get_session().get_credentials()
    if credentials is None:
        raise Unavailable("no AWS credentials are configured")
    return credentials


def _call(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    body = json.dumps(request, separators=(",", ":")).encode()
    deadline = time.monotonic() + RETRY_SECONDS
    pause = 0.025
    while True:
        events.emit(f"before-call.dynamodb.{operation}", model=operation, params=request)
        fault = "connection failed"
        try:
            answer = _send(operation, body)
        except urllib3.exceptions.HTTPError:
            pass
        else:
            if answer.status == 200:
                result: dict[str, Any] = json.loads(answer.data)
                return result
            fault = _fault(answer)
        if time.monotonic() + pause > deadline:
            raise Unavailable(f"the metadata store does not answer: {fault}")
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 -- jitter, not a secret
        pause = min(pause * 2, 1.0)


def _send(operation: str, body: bytes) -> urllib3.BaseHTTPResponse:
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"DynamoDB_20120810.{operation}",
    }
    signed = AWSRequest("POST", f"{_endpoint()}/", headers=headers, data=body)
    SigV4Auth(_credentials(), "dynamodb", _region()).add_auth(signed)
    return _pool().request("POST", "/", body=body, headers=dict(signed.headers.items()), preload_content=True)


def _fault(answer: urllib3.BaseHTTPResponse) -> str:
    """The error's name if another try may help, else raises RuntimeError: a fault of ours, such as a missing right."""
    try:
        kind = str(json.loads(answer.data).get("__type", "")).rpartition("#")[2]
    except (ValueError, AttributeError):
        kind = f"HTTP {answer.status}"
    if answer.status >= 500 or kind in _TRANSIENT:
        return kind
    raise RuntimeError(f"DynamoDB refused a read: {kind}")
