"""The local cloud keeps what it has acknowledged: killed at any moment, stopped, or with its state damaged."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.durability import RECOVER_PATH, DurableCloud, Message
from infra.local.journal import Journal
from infra.local.snapshots import Snapshots
from tests.conftest import free_port, start_cloud

TABLE = "items"
_NO_RETRIES = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})


class Cloud:
    """A running local cloud and its clients."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self._url = f"http://127.0.0.1:{port}"
        self.dynamodb = self.client("dynamodb")

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self._url, config=_NO_RETRIES)

    def deploy(self) -> None:
        """Make the table when it is not there, and use what a deployment does; then write back the journal."""
        self.client("cloudformation").describe_stacks()
        self.client("secretsmanager").list_secrets()
        if TABLE not in self.dynamodb.list_tables()["TableNames"]:
            self.dynamodb.create_table(
                TableName=TABLE,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
                KeySchema=[
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
            )
        self.recover()

    def recover(self) -> int:
        request = urllib.request.Request(f"{self._url}{RECOVER_PATH}", method="POST")
        with urllib.request.urlopen(request, timeout=600) as answer:
            return int(json.load(answer)["images"])

    def items(self) -> dict[str, str]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
        return {item["pk"]["S"]: item["value"]["S"] for page in pages for item in page["Items"]}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def run(tmp_path: Path) -> Callable[[], Any]:
    """Start a cloud on the state folder of this test."""

    @contextmanager
    def start() -> Iterator[Cloud]:
        port = free_port()
        with start_cloud(tmp_path, port) as process:
            yield Cloud(process, port)

    return start


def item(name: str, value: str) -> dict[str, Any]:
    return {**key(name), "value": {"S": value}}


def key(name: str) -> dict[str, Any]:
    return {"pk": {"S": name}, "sk": {"S": "-"}}


def test_each_kind_of_write_survives_a_kill(run: Callable[[], Any]) -> None:
    with run() as cloud:
        cloud.deploy()
        table = cloud.dynamodb
        for name in ("updated", "deleted", "batch-deleted", "transact-updated", "transact-deleted"):
            table.put_item(TableName=TABLE, Item=item(name, "old"))
        table.put_item(TableName=TABLE, Item=item("put", "new"))
        change = {"UpdateExpression": "SET #v = :v", "ExpressionAttributeNames": {"#v": "value"}}
        change["ExpressionAttributeValues"] = {":v": {"S": "new"}}
        table.update_item(TableName=TABLE, Key=key("updated"), **change)
        table.update_item(TableName=TABLE, Key=key("made by an update"), **change)
        table.delete_item(TableName=TABLE, Key=key("deleted"))
        table.batch_write_item(
            RequestItems={
                TABLE: [
                    {"PutRequest": {"Item": item("batch-put", "new")}},
                    {"DeleteRequest": {"Key": key("batch-deleted")}},
                ]
            }
        )
        table.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": TABLE, "Item": item("transact-put", "new")}},
                {"Update": {"TableName": TABLE, "Key": key("transact-updated"), **change}},
                {"Delete": {"TableName": TABLE, "Key": key("transact-deleted")}},
                {
                    "ConditionCheck": {
                        "TableName": TABLE,
                        "Key": key("put"),
                        "ConditionExpression": "attribute_exists(pk)",
                    }
                },
            ]
        )
        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            table.put_item(TableName=TABLE, Item=item("put", "refused"), ConditionExpression="attribute_not_exists(pk)")
        before = cloud.items()
        cloud.kill()

    assert set(before.values()) == {"new"}
    assert len(before) == 6
    with run() as cloud:
        cloud.deploy()
        assert cloud.items() == before


def test_what_was_acknowledged_survives_kills_at_any_moment(run: Callable[[], Any]) -> None:
    writers = [Writer(number) for number in range(4)]
    for _ in range(4):
        with run() as cloud:
            cloud.deploy()
            for writer in writers:
                writer.check(cloud.items())
            threads = [threading.Thread(target=writer.write, args=(cloud.client("dynamodb"),)) for writer in writers]
            for thread in threads:
                thread.start()
            time.sleep(random.uniform(0.1, 0.6))
            cloud.kill()
            for thread in threads:
                thread.join()
    with run() as cloud:
        cloud.deploy()
        for writer in writers:
            writer.check(cloud.items())
    assert sum(writer.count for writer in writers) > 100


class Writer:
    """Writes items of its own until the cloud is gone, and knows what it was told has been written."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._known: dict[str, str | None] = {}
        self._pending: dict[str, str | None] = {}
        """What the request that got no answer would have made of its items, all of it or nothing."""
        self.count = 0

    def write(self, dynamodb: Any) -> None:
        try:
            while True:
                self.count += 1
                names = [f"{self._number}-{random.randrange(20)}" for _ in range(3)]
                self._pending = {name: random.choice([None, f"{self.count}"]) for name in names}
                actions = [self._action(name, value) for name, value in self._pending.items()]
                dynamodb.transact_write_items(TransactItems=actions)
                self._known |= self._pending
        except BotoCoreError:
            return

    @staticmethod
    def _action(name: str, value: str | None) -> dict[str, Any]:
        if value is None:
            return {"Delete": {"TableName": TABLE, "Key": key(name)}}
        if random.random() < 0.5:
            return {"Put": {"TableName": TABLE, "Item": item(name, value)}}
        change = {"UpdateExpression": "SET #v = :v", "ExpressionAttributeNames": {"#v": "value"}}
        values = {":v": {"S": value}}
        return {"Update": {"TableName": TABLE, "Key": key(name), **change, "ExpressionAttributeValues": values}}

    def check(self, items: dict[str, str]) -> None:
        found = {name: value for name, value in items.items() if name.startswith(f"{self._number}-")}
        possible = [_present(self._known), _present({**self._known, **self._pending})]
        assert found in possible
        if found == possible[1]:
            self._known |= self._pending
        self._pending = {}


def _present(values: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def test_a_clean_stop_saves_everything_and_empties_the_journal(run: Callable[[], Any], tmp_path: Path) -> None:
    with run() as cloud:
        cloud.deploy()
        cloud.dynamodb.put_item(TableName=TABLE, Item=item("a", "kept"))
    assert (tmp_path / "journal.jsonl").stat().st_size == 0
    with run() as cloud:
        assert cloud.items() == {"a": "kept"}
        assert cloud.recover() == 0


def test_a_stop_before_the_recovery_keeps_the_journal(run: Callable[[], Any]) -> None:
    with run() as cloud:
        cloud.deploy()
        cloud.dynamodb.put_item(TableName=TABLE, Item=item("a", "kept"))
        cloud.kill()
    with run():
        pass
    with run() as cloud:
        cloud.deploy()
        assert cloud.items() == {"a": "kept"}


def test_a_kill_after_a_clean_stop_loses_neither_what_was_saved_nor_what_came_after(run: Callable[[], Any]) -> None:
    with run() as cloud:
        cloud.deploy()
        for name in "abc":
            cloud.dynamodb.put_item(TableName=TABLE, Item=item(name, "saved"))
    with run() as cloud:
        cloud.deploy()
        cloud.dynamodb.delete_item(TableName=TABLE, Key=key("a"))
        cloud.dynamodb.put_item(TableName=TABLE, Item=item("b", "changed"))
        cloud.kill()
    with run() as cloud:
        cloud.deploy()
        assert cloud.items() == {"b": "changed", "c": "saved"}


def test_a_kill_in_the_middle_of_a_stop_loses_nothing(run: Callable[[], Any]) -> None:
    written: dict[str, str] = {}
    for attempt in range(4):
        with run() as cloud:
            cloud.deploy()
            assert cloud.items() == written
            for number in range(5):
                name, value = f"{random.randrange(8)}", f"{attempt}-{number}"
                cloud.dynamodb.put_item(TableName=TABLE, Item=item(name, value))
                written[name] = value
            cloud.process.terminate()
            time.sleep(random.uniform(0, 0.25))
            cloud.kill()


def test_secrets_that_were_made_or_deleted_are_so_after_a_kill(run: Callable[[], Any]) -> None:
    def current(cloud: Cloud) -> dict[str, str]:
        secrets = cloud.client("secretsmanager")
        names = [entry["Name"] for entry in secrets.list_secrets()["SecretList"]]
        return {name: secrets.get_secret_value(SecretId=name)["SecretString"] for name in names}

    with run() as cloud:
        cloud.deploy()
        cloud.client("secretsmanager").create_secret(Name="saved and deleted", SecretString="first")
    with run() as cloud:
        cloud.deploy()
        secrets = cloud.client("secretsmanager")
        for name in ("made", "made and deleted", "made again"):
            secrets.create_secret(Name=name, SecretString="first")
        for name in ("saved and deleted", "made and deleted", "made again"):
            secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        secrets.create_secret(Name="made again", SecretString="second")
        before = current(cloud)
        assert before == {"made": "first", "made again": "second"}
        cloud.kill()
    for _ in range(2):
        with run() as cloud:
            cloud.deploy()
            assert current(cloud) == before
            cloud.kill()


def test_secrets_survive_a_kill_those_that_were_generated_too(run: Callable[[], Any]) -> None:
    def generate(cloud: Cloud, value: str) -> None:
        """As a deployment does: not by a request of its own."""
        properties = {name: {"Name": name, "SecretString": value} for name in ("generated", "rotated")}
        resources = {
            name.title(): {"Type": "AWS::SecretsManager::Secret", "Properties": each}
            for name, each in properties.items()
        }
        template = json.dumps({"Resources": resources})
        formation = cloud.client("cloudformation")
        formation.create_stack(StackName="secrets", TemplateBody=template)
        formation.get_waiter("stack_create_complete").wait(StackName="secrets", WaiterConfig={"Delay": 1})

    with run() as cloud:
        generate(cloud, "first")
        cloud.deploy()
        cloud.client("secretsmanager").put_secret_value(SecretId="rotated", SecretString="second")
        cloud.kill()
    with run() as cloud:
        secrets = cloud.client("secretsmanager")
        assert secrets.list_secrets()["SecretList"] == []
        generate(cloud, "generated anew")
        cloud.deploy()
        assert secrets.get_secret_value(SecretId="generated")["SecretString"] == "first"
        assert secrets.get_secret_value(SecretId="rotated")["SecretString"] == "second"


def test_objects_survive_a_kill_and_what_was_half_written_is_gone(run: Callable[[], Any], tmp_path: Path) -> None:
    with run() as cloud:
        s3 = cloud.client("s3")
        cloud.deploy()
        s3.create_bucket(Bucket="some")
        for name in ("saved", "deleted"):
            s3.put_object(Bucket="some", Key=f"blobs/{name}", Body=b"before the stop")
    with run() as cloud:
        s3 = cloud.client("s3")
        s3.delete_object(Bucket="some", Key="blobs/deleted")
        s3.put_object(Bucket="some", Key="blobs/new", Body=b"after it")
        cloud.kill()
    (written,) = (tmp_path / "s3").rglob("new")
    written.with_name("half.tmp").write_bytes(b"ha")
    with run() as cloud:
        s3 = cloud.client("s3")
        listed = [found["Key"] for found in s3.list_objects_v2(Bucket="some")["Contents"]]
        assert {name: s3.get_object(Bucket="some", Key=name)["Body"].read() for name in listed} == {
            "blobs/saved": b"before the stop",
            "blobs/new": b"after it",
        }


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe", b'{"__ministack_format__": 99, "payload": {}}', b'{"payload": [1], "__ministack_format__": 2}'],
)
def test_a_snapshot_that_cannot_be_read_is_told_and_left_alone(
    run: Callable[[], Any], tmp_path: Path, content: bytes
) -> None:
    with run() as cloud:
        cloud.deploy()
    snapshot = last_state(tmp_path) / "dynamodb.json"
    snapshot.write_bytes(content)
    with pytest.raises(AssertionError, match="did not come up"), run():
        pass
    assert "cannot be loaded" in (tmp_path / "cloud.log").read_text().splitlines()[-1]
    assert last_state(tmp_path) == snapshot.parent
    assert snapshot.read_bytes() == content


def last_state(folder: Path) -> Path:
    (mark,) = (folder / "ministack").glob("*/complete")
    return mark.parent


def test_a_snapshot_that_is_missing_is_told(run: Callable[[], Any], tmp_path: Path) -> None:
    with run() as cloud:
        cloud.deploy()
    (last_state(tmp_path) / "dynamodb.json").unlink()
    with pytest.raises(AssertionError, match="did not come up"), run():
        pass
    assert "dynamodb.json is missing" in (tmp_path / "cloud.log").read_text().splitlines()[-1]


def test_a_state_that_was_being_saved_when_it_was_killed_does_not_count(run: Callable[[], Any], tmp_path: Path) -> None:
    with run() as cloud:
        cloud.deploy()
        cloud.dynamodb.put_item(TableName=TABLE, Item=item("a", "saved"))
    with run() as cloud:
        cloud.deploy()
        cloud.dynamodb.put_item(TableName=TABLE, Item=item("b", "journalled"))
        cloud.kill()
    newer = last_state(tmp_path).with_name("2")
    (newer / "dynamodb.json").unlink()
    with run() as cloud:
        cloud.deploy()
        assert cloud.items() == {"a": "saved", "b": "journalled"}


def test_a_damaged_journal_is_told_and_left_alone(run: Callable[[], Any], tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b"[]\n[{]\n[]\n")
    with pytest.raises(AssertionError, match="did not come up"), run():
        pass
    assert "damaged at line 2" in (tmp_path / "cloud.log").read_text().splitlines()[-1]
    assert journal.read_bytes() == b"[]\n[{]\n[]\n"


def test_a_write_that_the_disk_has_no_room_for_is_not_acknowledged(run: Callable[[], Any], tmp_path: Path) -> None:
    with run() as cloud:
        cloud.deploy()
        cloud.dynamodb.put_item(TableName=TABLE, Item=item("a", "kept"))
        size = (tmp_path / "journal.jsonl").stat().st_size
        resource.prlimit(cloud.process.pid, resource.RLIMIT_FSIZE, (size + 10, size + 10))
        with pytest.raises(BotoCoreError):
            cloud.dynamodb.put_item(TableName=TABLE, Item=item("b", "lost"))
        assert cloud.process.wait(10) == 1
    with run() as cloud:
        cloud.deploy()
        assert cloud.items() == {"a": "kept"}


def test_an_object_that_the_disk_has_no_room_for_is_not_acknowledged(run: Callable[[], Any]) -> None:
    with run() as cloud:
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket="some")
        resource.prlimit(cloud.process.pid, resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        with pytest.raises(BotoCoreError):
            s3.put_object(Bucket="some", Key="blobs/a", Body=b"x" * (1 << 17))
        assert cloud.process.wait(10) == 1


def test_statements_that_do_not_name_their_items_are_refused(run: Callable[[], Any]) -> None:
    with run() as cloud:
        cloud.deploy()
        with pytest.raises(ClientError, match="not journalled"):
            cloud.dynamodb.execute_statement(Statement="DELETE FROM items WHERE pk = 'a'")


def test_the_cloud_stops_when_its_parent_is_gone(run: Callable[[], Any], tmp_path: Path) -> None:
    with run() as cloud:
        cloud.deploy()
        cloud.dynamodb.put_item(TableName=TABLE, Item=item("a", "kept"))
        assert cloud.process.stdin is not None
        cloud.process.stdin.close()
        assert cloud.process.wait(30) in (0, -signal.SIGTERM)
    assert (tmp_path / "journal.jsonl").stat().st_size == 0


def test_a_read_does_not_tell_of_a_write_before_it_is_on_disk(tmp_path: Path) -> None:
    """A write has been applied and is not journalled; a read that sees it must wait for that."""
    asyncio.run(_read_beside_a_write(tmp_path / "journal"))


async def _read_beside_a_write(path: Path) -> None:
    applied, go_on = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        applied.set()
        await go_on.wait()

    cloud = _around(path, write)
    order: list[tuple[str, bool]] = []

    async def ask(operation: str, request: dict[str, Any]) -> None:
        await _ask(cloud, operation, request)
        order.append((operation, path.stat().st_size > 0))

    writing = asyncio.create_task(ask("PutItem", {"TableName": TABLE, "Item": {"pk": {"S": "a"}}}))
    await applied.wait()
    reading = asyncio.create_task(ask("GetItem", {"TableName": TABLE, "Key": {"pk": {"S": "a"}}}))
    for _ in range(10):
        await asyncio.sleep(0)
    assert order == []
    go_on.set()
    await asyncio.gather(writing, reading)
    assert sorted(order) == [("GetItem", True), ("PutItem", True)]


def test_a_write_that_fails_holds_up_nothing_after_it(tmp_path: Path) -> None:
    async def fail() -> None:
        raise ConnectionError

    async def write_and_read() -> None:
        cloud = _around(tmp_path / "journal", fail)
        with pytest.raises(ConnectionError):
            await _ask(cloud, "PutItem", {"TableName": TABLE, "Item": {"pk": {"S": "a"}}})
        async with asyncio.timeout(5):
            await _ask(cloud, "GetItem", {"TableName": TABLE, "Key": {"pk": {"S": "a"}}})

    asyncio.run(write_and_read())


def _around(path: Path, write: Callable[[], Awaitable[None]]) -> DurableCloud:
    """The middleware around an app whose writes do `write`."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if dict(scope["headers"])[b"x-amz-target"].endswith(b"PutItem"):
            await write()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = b'{"Table": {"KeySchema": [{"AttributeName": "pk"}]}}'
        await send({"type": "http.response.body", "body": body})

    return DurableCloud(app, Journal(path), Snapshots(path.with_name("states")))


async def _ask(cloud: DurableCloud, operation: str, request: dict[str, Any]) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": json.dumps(request).encode()}

    async def send(_message: Message) -> None:
        pass

    headers = [(b"x-amz-target", f"DynamoDB_20120810.{operation}".encode())]
    await cloud({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)


def test_recovery_tells_what_it_cannot_write_back(run: Callable[[], Any], tmp_path: Path) -> None:
    line = [{"table": "not there", "key": key("a"), "item": item("a", "x")}]
    (tmp_path / "journal.jsonl").write_text(f"{json.dumps(line)}\n")
    with run() as cloud:
        with pytest.raises(urllib.error.HTTPError) as failure:
            cloud.recover()
        assert "BatchWriteItem failed" in json.loads(failure.value.read())["message"]
    assert os.stat(tmp_path / "journal.jsonl").st_size > 0
