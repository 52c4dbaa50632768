"""From the outbox to the queue: which policies an event concerns, and one delivery for each of their targets.

The stream of the Events table starts it, at least once for each event. Everything it writes has a name that follows
from the event, so that a second run, or one after a crash at any point, changes nothing: the message leaves the outbox
last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.access import configuration
from chalicelib.jobs.records import Status
from chalicelib.settings import settings
from chalicelib.storage import queues
from chalicelib.storage.conditions import now
from chalicelib.webhooks import payloads, policies
from chalicelib.webhooks.records import Delivery, Message, Policy, Target
from chalicelib.webhooks.store import deliveries as table

_LOST_SECONDS = 600
"""What has waited for longer, or was not touched for so long, is taken up again by `resume`."""


def run(event: Mapping[str, Any]) -> int:
    """Dispatch what the stream's records tell of, or what was left lying. Returns how many events."""
    if "Records" not in event:
        return resume(_LOST_SECONDS)
    keys = [record["dynamodb"]["Keys"] for record in event["Records"]]
    found = [table.message(key["pk"]["S"], key["sk"]["S"]) for key in keys]
    messages = [message for message in found if message is not None]
    for message in messages:
        dispatch(message)
    return len(messages)


def resume(seconds: int) -> int:
    """Take up what is older than `seconds` and was not dispatched or delivered: its message was lost somewhere."""
    before = now() - seconds * 1000
    messages = list(table.waiting(before))
    for message in messages:
        dispatch(message)
    lost = [each for each in table.undelivered() if each.updated < before]
    queues.send(settings().webhook_queue, [_message(each) for each in lost])
    return len(messages) + len(lost)


def dispatch(message: Message) -> None:
    """Make the deliveries of one event, and queue them; none while the system's webhooks are switched off."""
    made = list(_deliveries(message)) if configuration.current().notification_enable else []
    queues.send(settings().webhook_queue, [_message(each) for each in made])
    table.drop(message)


def _deliveries(message: Message) -> Iterator[Delivery]:
    """Those of the event that are not done yet, written."""
    found = policies.concerned(message)
    if not found:
        return
    data = payloads.data_of(message)
    for policy in found:
        for index, target in enumerate(policy.targets):
            delivery = _create(message, data, policy, index, target)
            if not delivery.status.is_final:
                yield delivery
        table.set_triggered(policy.number, message.topic, message.time)


def _create(message: Message, data: Mapping[str, Any], policy: Policy, index: int, target: Target) -> Delivery:
    """Write a delivery, under a number that follows from the event, or find it there."""
    origin = f"{message.event_id} {index}"
    headers, body = payloads.render(message, data, policy, target)
    number = message.time * 4096 + int(hashlib.sha256(origin.encode()).hexdigest()[:3], 16)
    while True:
        time = now()
        delivery = Delivery(
            policy.project_id,
            policy.number,
            number,
            origin,
            message.topic,
            target,
            headers,
            body,
            Status.PENDING,
            0,
            time,
            time,
            (),
            "",
        )
        if table.create(delivery):
            return delivery
        present = table.read(policy.number, number)
        if present is not None and present.event_id == origin:
            return present
        if present is not None:
            number += 1  # another event of the same millisecond has it


def _message(delivery: Delivery) -> dict[str, int]:
    return {"policy": delivery.policy, "number": delivery.number}
