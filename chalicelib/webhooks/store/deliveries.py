"""The Events table: the outbox of events, and the deliveries that are made of them.

Until a delivery has a final status, an item says so in a partition that can be read in one go: what a queue or a
function lost is found by it. A delivery's attempt holds a lease, so that the same message twice is one attempt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chalicelib.events.store import OUTBOX_PREFIX, SHARDS, sort_key
from chalicelib.jobs.records import Status
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import new_id, now, write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.transactions import transact
from chalicelib.webhooks.records import Delivery, Message, Target

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

KEPT_SECONDS = 7 * 24 * 3600
LISTED = 1000
"""The newest deliveries of a policy, which lists and counts go through."""

_UNDELIVERED = "undelivered|"
_TRIGGER = "trigger|"


def message(partition: str, key: str) -> Message | None:
    """What is still to be dispatched under a key of the outbox."""
    item = reads.get_item(Key(settings().events_table, partition, key))
    return _to_message(item) if item else None


def waiting(older_than: int) -> Iterator[Message]:
    """What has been in the outbox since before a time in milliseconds."""
    for shard in range(SHARDS):
        partition = f"{OUTBOX_PREFIX}{shard}"
        items, _ = reads.query_range(settings().events_table, partition, sort_key(0), sort_key(older_than), limit=500)
        yield from (_to_message(item) for item in items)


def drop(found: Message) -> None:
    """Take a message that has been dispatched out of the outbox."""
    tables.OutboxItem(found.partition, found.key).delete()


def create(delivery: Delivery) -> bool:
    """Write a delivery that is to be made. False when its number is taken."""

    def write(transaction: TransactWrite) -> None:
        transaction.save(_to_item(delivery, lease=0), condition=tables.DeliveryItem.pk.does_not_exist())
        transaction.save(tables.UndeliveredItem(*_mark(delivery)))

    return transact(write)


def claim(delivery: Delivery, until: int) -> Delivery | None:
    """Begin an attempt, which keeps others off `until` a time in milliseconds. None when another has begun one."""
    version = new_id()
    begun = write_if(
        tables.DeliveryItem(_partition(delivery.policy), _key(delivery.number)).update,
        actions=[
            tables.DeliveryItem.status.set(Status.RUNNING.value),
            tables.DeliveryItem.attempts.set(delivery.attempts + 1),
            tables.DeliveryItem.lease.set(until),
            tables.DeliveryItem.updated.set(now()),
            tables.DeliveryItem.version.set(version),
        ],
        condition=(tables.DeliveryItem.version == delivery.version) & (tables.DeliveryItem.lease < now()),
    )
    return read(delivery.policy, delivery.number) if begun else None


def finish(delivery: Delivery, status: Status, log: Sequence[str]) -> None:
    """Write what an attempt, or the last of them, came to. Nothing happens when another has taken over."""

    def write(transaction: TransactWrite) -> None:
        transaction.update(
            tables.DeliveryItem(_partition(delivery.policy), _key(delivery.number)),
            actions=[
                tables.DeliveryItem.status.set(status.value),
                tables.DeliveryItem.log.set(list(log)),
                tables.DeliveryItem.lease.set(0),
                tables.DeliveryItem.updated.set(now()),
                tables.DeliveryItem.version.set(new_id()),
            ],
            condition=tables.DeliveryItem.version == delivery.version,
        )
        if status.is_final:
            transaction.delete(tables.UndeliveredItem(*_mark(delivery)))

    transact(write)


def read(policy: int, number: int) -> Delivery | None:
    item = reads.get_item(Key(settings().events_table, _partition(policy), _key(number)))
    return _to_delivery(item) if item else None


def newest(policy: int) -> list[Delivery]:
    """The newest deliveries of a policy, up to LISTED, the newest first."""
    items = reads.query_page(settings().events_table, _partition(policy), "", 0, LISTED, descending=True)
    return [_to_delivery(item) for item in items]


def undelivered() -> Iterator[Delivery]:
    """The deliveries that have no final status yet."""
    for shard in range(SHARDS):
        for item in reads.query_all(settings().events_table, f"{_UNDELIVERED}{shard}", ""):
            number, _, policy = item["sk"].partition("|")
            found = read(int(policy), int(number))
            if found is not None and not found.status.is_final:
                yield found
            else:  # its time to be kept was over before it came to an end
                tables.UndeliveredItem(item["pk"], item["sk"]).delete()


def set_triggered(policy: int, topic: str, time: int) -> None:
    """Note when a policy was triggered last by an event."""
    later = tables.TriggerItem.time.does_not_exist() | (tables.TriggerItem.time < time)
    write_if(
        tables.TriggerItem(f"{_TRIGGER}{policy}", topic).update,
        actions=[tables.TriggerItem.time.set(time)],
        condition=later,
    )


def triggered(policy: int) -> dict[str, int]:
    """When a policy was triggered last, by event."""
    items = reads.query_all(settings().events_table, f"{_TRIGGER}{policy}", "")
    return {item["sk"]: item["time"] for item in items}


def _partition(policy: int) -> str:
    return f"delivery|{policy}"


def _key(number: int) -> str:
    return f"{number:016d}"


def _mark(delivery: Delivery) -> tuple[str, str]:
    return f"{_UNDELIVERED}{delivery.number % SHARDS}", f"{_key(delivery.number)}|{delivery.policy}"


def _to_item(delivery: Delivery, lease: int) -> tables.DeliveryItem:
    return tables.DeliveryItem(
        _partition(delivery.policy),
        _key(delivery.number),
        project_id=delivery.project_id,
        event_id=delivery.event_id,
        topic=delivery.topic,
        target={**vars(delivery.target), "auth_header": ""},
        headers=dict(delivery.headers),
        body=delivery.body,
        status=delivery.status.value,
        attempts=delivery.attempts,
        lease=lease,
        log=list(delivery.log),
        version=new_id(),
        created=delivery.created,
        updated=delivery.updated,
        expires=delivery.created // 1000 + KEPT_SECONDS,
    )


def _to_delivery(item: Item) -> Delivery:
    return Delivery(
        item["project_id"],
        int(item["pk"].partition("|")[2]),
        int(item["sk"]),
        item["event_id"],
        item["topic"],
        Target(**json.loads(item["target"])),
        json.loads(item["headers"]),
        item["body"],
        Status(item["status"]),
        item["attempts"],
        item["created"],
        item["updated"],
        json.loads(item["log"]),
        item["version"],
    )


def _to_message(item: Item) -> Message:
    return Message(
        item["sk"], item["pk"], item["topic"], item["project_id"], item["operator"], json.loads(item["detail"])
    )
