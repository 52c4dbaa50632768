"""What writes make of items and secrets: read from the request or from the store, and written back after a crash."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from infra.local.journal import Image

Item = dict[str, Any]
Call = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Calls an operation of the local cloud with a request; raises RuntimeError when it is refused."""

DYNAMODB = "DynamoDB_20120810."
SECRETS = "secretsmanager."
WRITES = {
    *(DYNAMODB + name for name in ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")),
    *(SECRETS + name for name in ("PutSecretValue", "UpdateSecretVersionStage", "UpdateSecret")),
    *(SECRETS + name for name in ("CreateSecret", "DeleteSecret")),
}
UNKNOWN = {DYNAMODB + name for name in ("ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction")}
"""Writes whose items cannot be told from the request: PartiQL's."""
_READ_LIMIT, _WRITE_LIMIT = 100, 25
"""Items of a batch, as DynamoDB allows."""


class Effects:
    """Finds and restores images. Tables' keys are asked for once."""

    def __init__(self) -> None:
        self._key_names: dict[str, list[str]] = {}

    async def of(self, call: Call, target: str, request: dict[str, Any]) -> list[Image]:
        """The images of all that a successful request has touched."""
        if target == f"{SECRETS}DeleteSecret":
            return [{"secret": request["SecretId"], "value": None}]
        if target.startswith(SECRETS):
            return [await _secret(call, request.get("SecretId") or request["Name"])]
        images: list[Image] = []
        updated: dict[str, list[Item]] = {}
        for kind, table, item in _touched(target.removeprefix(DYNAMODB), request):
            key = await self._key(call, table, item)
            if kind == "Update":
                updated.setdefault(table, []).append(key)
            else:
                images.append({"table": table, "key": key, "item": item if kind == "Put" else None})
        for table, keys in updated.items():
            images += await self._read(call, table, keys)
        return images

    async def _read(self, call: Call, table: str, keys: list[Item]) -> list[Image]:
        found: dict[str, Item] = {}
        for start in range(0, len(keys), _READ_LIMIT):
            page = {"Keys": keys[start : start + _READ_LIMIT], "ConsistentRead": True}
            answer = await call(DYNAMODB + "BatchGetItem", {"RequestItems": {table: page}})
            if answer.get("UnprocessedKeys"):
                raise RuntimeError("keys of a batch were left unread")
            for item in answer["Responses"].get(table, []):
                found[json.dumps(await self._key(call, table, item))] = item
        return [{"table": table, "key": key, "item": found.get(json.dumps(key))} for key in keys]

    async def _key(self, call: Call, table: str, item: Item) -> Item:
        if table not in self._key_names:
            answer = await call(DYNAMODB + "DescribeTable", {"TableName": table})
            self._key_names[table] = [part["AttributeName"] for part in answer["Table"]["KeySchema"]]
        return {name: item[name] for name in self._key_names[table]}


def _touched(operation: str, request: dict[str, Any]) -> Iterator[tuple[str, str, Item]]:
    """What a DynamoDB write does: "Put", "Update" or "Delete", in which table, and the item (of a put) or its key.

    MiniStack leaves nothing of a batch unprocessed, so a batch that it has answered is done.
    """
    if operation == "BatchWriteItem":
        for table, writes in request["RequestItems"].items():
            for write in writes:
                if "PutRequest" in write:
                    yield "Put", table, write["PutRequest"]["Item"]
                else:
                    yield "Delete", table, write["DeleteRequest"]["Key"]
    elif operation == "TransactWriteItems":
        for entry in request["TransactItems"]:
            for kind, action in entry.items():
                if kind != "ConditionCheck":
                    yield kind, action["TableName"], action["Item" if kind == "Put" else "Key"]
    else:
        kind = operation.removesuffix("Item")
        yield kind, request["TableName"], request["Item" if kind == "Put" else "Key"]


async def write_back(call: Call, images: list[Image]) -> None:
    """Make items and secrets what their images say; each image is of another one, so in any order."""
    items = [image for image in images if "table" in image]
    for start in range(0, len(items), _WRITE_LIMIT):
        batch: dict[str, list[dict[str, Any]]] = {}
        for image in items[start : start + _WRITE_LIMIT]:
            gone = image["item"] is None
            write = {"DeleteRequest": {"Key": image["key"]}} if gone else {"PutRequest": {"Item": image["item"]}}
            batch.setdefault(image["table"], []).append(write)
        await call(DYNAMODB + "BatchWriteItem", {"RequestItems": batch})
    secrets = {image["secret"]: image["value"] for image in images if "secret" in image}
    present = {image["secret"] for image in await all_secrets(call)} if secrets else set()
    for name, value in secrets.items():
        await _write_secret(call, name, value, is_there=name in present)


async def _write_secret(call: Call, name: str, value: str | None, *, is_there: bool) -> None:
    """Make a secret what its image says: those that the API makes a fresh deployment does not have."""
    if value is None and is_there:
        await call(SECRETS + "DeleteSecret", {"SecretId": name, "ForceDeleteWithoutRecovery": True})
    elif value is not None and is_there:
        await call(SECRETS + "PutSecretValue", {"SecretId": name, "SecretString": value})
    elif value is not None:
        await call(SECRETS + "CreateSecret", {"Name": name, "SecretString": value})


async def all_secrets(call: Call) -> list[Image]:
    """The images of every secret that there is."""
    request: dict[str, Any] = {"MaxResults": 100}
    images: list[Image] = []
    while True:
        listed = await call(SECRETS + "ListSecrets", request)
        images += [await _secret(call, secret["Name"]) for secret in listed["SecretList"]]
        if not listed.get("NextToken"):
            return images
        request["NextToken"] = listed["NextToken"]


async def _secret(call: Call, name: str) -> Image:
    answer = await call(SECRETS + "GetSecretValue", {"SecretId": name})
    return {"secret": answer["Name"], "value": answer["SecretString"]}
