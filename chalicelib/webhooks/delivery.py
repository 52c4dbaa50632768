"""From the queue to the target: one attempt to deliver, and what becomes of a failed one.

The queue gives a message again until the attempt has succeeded or there have been ATTEMPTS of them, after growing
pauses; then it is in the dead-letter queue, and the delivery says what went wrong. Nothing of a target's secret or of
its answer's body is written down.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from chalicelib import outbound
from chalicelib.jobs.records import Status
from chalicelib.settings import settings
from chalicelib.storage import queues
from chalicelib.storage.conditions import now
from chalicelib.webhooks.records import Delivery, Target
from chalicelib.webhooks.store import deliveries as table
from chalicelib.webhooks.store import policies as policy_table

ATTEMPTS = 4
"""One, and Harbor's three retries (JOBSERVICE_WEBHOOK_JOB_MAX_RETRY). The queue's redrive policy gives as many."""

_SECONDS = 10.0
_LEASE_SECONDS = 60
_PAUSE_FACTOR = 4
_ANSWER_LIMIT = 64 * 1024


def run(event: Mapping[str, Any]) -> dict[str, Any]:
    """Deliver what SQS gives. Answers which messages it is to give again (Lambda: ReportBatchItemFailures)."""
    failed = [record for record in event["Records"] if not _deliver(record)]
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}


def _deliver(record: Mapping[str, Any]) -> bool:
    """False when the message is to be given again, or to end in the dead-letter queue."""
    body = json.loads(record["body"])
    after = attempt(int(body["policy"]), int(body["number"]))
    if after is None or after.status in (Status.SUCCESS, Status.STOPPED):
        return True
    pause = settings().webhook_retry_seconds * _PAUSE_FACTOR ** (after.attempts - 1)
    queues.hide(settings().webhook_queue, record["receiptHandle"], 0 if after.status.is_final else pause)
    return False


def attempt(policy: int, number: int) -> Delivery | None:
    """Try once, and return how the delivery stands then. None when there is nothing to do, or another is at it."""
    found = table.read(policy, number)
    if found is None or (found.status.is_final and found.status is not Status.ERROR):
        return None
    if found.status.is_final:
        return found
    begun = table.claim(found, now() + _LEASE_SECONDS * 1000)
    if begun is None:
        return None
    target = _current_target(begun)
    status, told = (
        (Status.STOPPED, "the policy or its target is gone or disabled") if target is None else _send(begun, target)
    )
    if status is Status.PENDING and begun.attempts >= ATTEMPTS:
        status = Status.ERROR
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} attempt {begun.attempts} of {ATTEMPTS}: {told}"
    table.finish(begun, status, [*begun.log, line])
    return replace(begun, status=status)


def _current_target(delivery: Delivery) -> Target | None:
    """The target as its policy has it now, with its secret; None when it is not to be told any more."""
    policy = policy_table.read(delivery.project_id, delivery.policy)
    if policy is None or not policy.enabled:
        return None
    return next((each for each in policy.targets if each.is_same_place(delivery.target)), None)


def _send(delivery: Delivery, target: Target) -> tuple[Status, str]:
    """How an attempt ended, PENDING for one to be repeated, and a line that tells of it."""
    headers = dict(delivery.headers)
    if target.auth_header:
        headers["Authorization"] = target.auth_header
    parts = urlsplit(target.address)
    told = f"POST {parts.scheme}://{parts.netloc}"
    try:
        answer = outbound.call(
            "POST",
            target.address,
            headers=headers,
            body=delivery.body.encode(),
            verify=not target.skip_cert_verify,
            seconds=_SECONDS,
            limit=_ANSWER_LIMIT,
        )
    except outbound.AddressRefusedError as error:
        return Status.ERROR, f"{told}: {error}"
    except outbound.OutboundError as error:
        return Status.PENDING, f"{told}: {error}"
    status = Status.SUCCESS if 200 <= answer.status < 300 else Status.PENDING
    return status, f"{told}: answered {answer.status}"
