"""The journal of the local cloud: DynamoDB and Secrets Manager writes, on disk before they are acknowledged.

MiniStack saves its state when it stops cleanly, and loses what was written since when it is killed. So a middleware
around its ASGI app lets one write through at a time, reads back what the write has made of the items that it touched,
and appends these images to a file before it lets the answer go. Images, unlike requests, can be applied twice and onto
any older state: after a crash the stack is deployed again, the images are written in their order, and every item is as
it was when its last write was acknowledged (docs/decisions/local-durability.md).

A line of the file is one JSON object: {"table", "key", "item"} with item null for one that is gone, or
{"secret", "value"} with the current value of a secret.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Line = dict[str, Any]

RECOVER_PATH = "/_berth/recover"
_DYNAMODB = "DynamoDB_20120810"
_READ_LIMIT = 100
_WRITES = {
    f"{_DYNAMODB}.{operation}"
    for operation in ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")
} | {f"secretsmanager.{operation}" for operation in ("PutSecretValue", "UpdateSecretVersionStage", "UpdateSecret")}
_UNSUPPORTED = {
    f"{_DYNAMODB}.{operation}" for operation in ("ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction")
}


class JournalDamagedError(Exception):
    """A line in the middle of the journal cannot be read: something else than a crash has changed the file."""


class JournalFile:
    """The lines on disk. A torn last line is the write that was never acknowledged, and is dropped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = list(self._load())
        self._file = path.open("ab", buffering=0)

    def _load(self) -> Iterator[Line]:
        if not self._path.exists():
            return
        *complete, torn = self._path.read_bytes().split(b"\n")
        for number, text in enumerate(complete, 1):
            try:
                yield json.loads(text)
            except ValueError as error:
                raise JournalDamagedError(f"{self._path}, line {number} is damaged: {error}") from error
        if torn:
            os.truncate(self._path, self._path.stat().st_size - len(torn))

    def append(self, lines: Iterable[Line]) -> None:
        """Write lines with one system call: a process killed after it loses nothing, the kernel has them."""
        self._file.write(b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines))

    def latest(self) -> list[Line]:
        """The lines that were there at the start, only the last one of each item and secret."""
        last = {json.dumps([line.get("table"), line.get("key"), line.get("secret")]): line for line in self._lines}
        return list(last.values())

    def compact(self) -> None:
        """Rewrite the file with the latest lines; a crash leaves the old file or the new one."""
        lines = self.latest()
        if len(lines) == len(self._lines):
            return
        replacement = self._path.with_suffix(".new")
        replacement.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        replacement.replace(self._path)
        self._file.close()
        self._file = self._path.open("ab", buffering=0)

    def clear(self) -> None:
        """Forget everything: the state that the lines described is saved elsewhere."""
        os.truncate(self._path, 0)


class JournaledCloud:
    """MiniStack's ASGI app, its writes journalled. `POST /_berth/recover` writes back what the journal holds."""

    def __init__(self, cloud: AsgiApp, journal: JournalFile) -> None:
        self._cloud = cloud
        self._journal = journal
        self._writing = asyncio.Lock()
        self._schemas: dict[str, list[str]] = {}
        self.recovered = False
        """Whether all that the journal held is in MiniStack, so that MiniStack's own save makes it superfluous."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._cloud(scope, receive, send)
            return
        if scope["path"] == RECOVER_PATH:
            await self._recover(scope, send)
            return
        target = next((value.decode() for name, value in scope["headers"] if name == b"x-amz-target"), "")
        if target in _WRITES:
            await self._write(scope, target, receive, send)
        elif target in _UNSUPPORTED:
            await _answer(send, 400, {"__type": "ValidationException", "message": f"{target} is not journalled"})
        else:
            await self._cloud(scope, receive, send)

    async def _write(self, scope: MutableMapping[str, Any], target: str, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        async with self._writing:
            answer = await self._request(scope, body)
            if answer[0]["status"] == 200:
                request = json.loads(body)
                lines = await (
                    self._images(scope, _touched(target, request))
                    if target.startswith(_DYNAMODB)
                    else self._secret(scope, request["SecretId"])
                )
                self._journal.append(lines)
        for message in answer:
            await send(message)

    async def _images(
        self, scope: MutableMapping[str, Any], touched: list[tuple[str, dict[str, Any]]]
    ) -> list[Line]:
        """What the items that a write touched are now. `touched` are tables with an item or a key."""
        keys: dict[str, dict[str, dict[str, Any]]] = {}
        for table, item in touched:
            key = {name: item[name] for name in await self._key_names(scope, table)}
            keys.setdefault(table, {})[json.dumps(key, sort_keys=True)] = key
        lines = []
        for table, wanted in keys.items():
            found: dict[str, Any] = {}
            names = list(wanted)
            for start in range(0, len(names), _READ_LIMIT):
                page = [wanted[name] for name in names[start : start + _READ_LIMIT]]
                request = {"RequestItems": {table: {"Keys": page, "ConsistentRead": True}}}
                answer = await self._call(scope, f"{_DYNAMODB}.BatchGetItem", request)
                if answer.get("UnprocessedKeys"):
                    raise RuntimeError("MiniStack left keys of a batch unread")
                for item in answer["Responses"].get(table, []):
                    key = {name: item[name] for name in await self._key_names(scope, table)}
                    found[json.dumps(key, sort_keys=True)] = item
            lines += [{"table": table, "key": key, "item": found.get(name)} for name, key in wanted.items()]
        return lines

    async def _key_names(self, scope: MutableMapping[str, Any], table: str) -> list[str]:
        if table not in self._schemas:
            answer = await self._call(scope, f"{_DYNAMODB}.DescribeTable", {"TableName": table})
            self._schemas[table] = [part["AttributeName"] for part in answer["Table"]["KeySchema"]]
        return self._schemas[table]

    async def _secret(self, scope: MutableMapping[str, Any], name: str) -> list[Line]:
        answer = await self._call(scope, "secretsmanager.GetSecretValue", {"SecretId": name})
        return [{"secret": answer["Name"], "value": answer["SecretString"]}]

    async def _recover(self, scope: MutableMapping[str, Any], send: Send) -> None:
        """Write back every image; the stack must be deployed. Answers {"lines": how many}."""
        async with self._writing:
            lines = self._journal.latest()
            for line in lines:
                await self._apply(scope, line)
            self._journal.compact()
            self.recovered = True
        await _answer(send, 200, {"lines": len(lines)})

    async def _apply(self, scope: MutableMapping[str, Any], line: Line) -> None:
        if "secret" in line:
            request = {"SecretId": line["secret"], "SecretString": line["value"]}
            await self._call(scope, "secretsmanager.PutSecretValue", request)
        elif line["item"] is None:
            await self._call(scope, f"{_DYNAMODB}.DeleteItem", {"TableName": line["table"], "Key": line["key"]})
        else:
            await self._call(scope, f"{_DYNAMODB}.PutItem", {"TableName": line["table"], "Item": line["item"]})

    async def _call(self, scope: MutableMapping[str, Any], target: str, request: dict[str, Any]) -> dict[str, Any]:
        headers = [(name, value) for name, value in scope["headers"] if name in (b"host", b"authorization")]
        headers += [(b"x-amz-target", target.encode()), (b"content-type", b"application/x-amz-json-1.1")]
        inner = {**scope, "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers}
        start, *rest = await self._request(inner, json.dumps(request).encode())
        body = b"".join(message.get("body", b"") for message in rest)
        if start["status"] != 200:
            raise RuntimeError(f"{target} failed: {body[:300]!r}")
        answer: dict[str, Any] = json.loads(body)
        return answer

    async def _request(self, scope: MutableMapping[str, Any], body: bytes) -> list[Message]:
        """Call MiniStack, and keep its answer."""
        messages: list[Message] = []
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return pending.pop() if pending else {"type": "http.disconnect"}

        async def collect(message: Message) -> None:
            messages.append(message)

        await self._cloud(scope, receive, collect)
        return messages


def _touched(target: str, request: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The tables and the items, or keys, that a DynamoDB write names."""
    operation = target.rpartition(".")[2]
    if operation == "BatchWriteItem":
        return [
            (table, write["PutRequest"]["Item"] if "PutRequest" in write else write["DeleteRequest"]["Key"])
            for table, writes in request["RequestItems"].items()
            for write in writes
        ]
    if operation == "TransactWriteItems":
        actions = [
            (kind, action)
            for entry in request["TransactItems"]
            for kind, action in entry.items()
            if kind != "ConditionCheck"
        ]
        return [(action["TableName"], action["Item" if kind == "Put" else "Key"]) for kind, action in actions]
    return [(request["TableName"], request["Item" if operation == "PutItem" else "Key"])]


async def _body(receive: Receive) -> bytes:
    chunks = []
    more = True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _answer(send: Send, status: int, body: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/x-amz-json-1.0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
