"""SQS: sending messages, and when those that failed are seen again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.oci.errors import Unavailable
from chalicelib.storage import aws_json
from chalicelib.storage.aws_json import Service

_SQS = Service("sqs", "1.0", "AmazonSQS", "AWS_ENDPOINT_URL_SQS")
_BATCH = 10
"""Messages of a SendMessageBatch (SQS quota)."""


def send(queue: str, messages: Sequence[Mapping[str, Any]]) -> None:
    """Put messages, as JSON, into the queue with this URL. Raises Unavailable when one was not taken.

    One may be there twice: consumers have to bear that of SQS anyway.
    """
    for start in range(0, len(messages), _BATCH):
        part = messages[start : start + _BATCH]
        entries = [{"Id": str(index), "MessageBody": json.dumps(body)} for index, body in enumerate(part)]
        answer = aws_json.call(_SQS, "SendMessageBatch", {"QueueUrl": queue, "Entries": entries})
        if answer.get("Failed"):
            raise Unavailable(f"the queue did not take {len(answer['Failed'])} messages")


def hide(queue: str, receipt: str, seconds: int) -> None:
    """Let a message that was received be seen again after `seconds`, if it is still there then."""
    request = {"QueueUrl": queue, "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
    aws_json.call(_SQS, "ChangeMessageVisibility", request)
