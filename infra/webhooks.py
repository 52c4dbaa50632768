"""What carries events to webhooks: the stream's mapping, the queue of deliveries, and what is tried in vain.

events table ─stream─▶ DispatchEvents ─▶ WebhookQueue ─▶ DeliverWebhook ─▶ the receiver
                                              └─ after the last attempt ─▶ UndeliveredWebhooks
"""

from __future__ import annotations

import json

from infra.policies import attribute_arn
from infra.schedules import Resource, schedule, scheduler_role

ATTEMPTS = 4
"""As chalicelib/webhooks/delivery.py counts them."""

_FUNCTION_SECONDS = 60
"""Of DeliverWebhook (.chalice/config.json)."""
_OUTBOX = {"eventName": ["INSERT"], "dynamodb": {"Keys": {"pk": {"S": [{"prefix": "outbox|"}]}}}}


def webhooks() -> dict[str, Resource]:
    """The queues, the mappings that start the functions, and the schedule that takes up what was lost."""
    return {
        "WebhookQueue": _queue(),
        "UndeliveredWebhooks": _dead_letters(),
        "DispatchMapping": _dispatch_mapping(),
        "DeliveryMapping": _delivery_mapping(),
        "ResumeSchedulerRole": scheduler_role(attribute_arn("DispatchEvents")),
        "Resume": _resume(),
    }


def _queue() -> Resource:
    return {
        "Type": "AWS::SQS::Queue",
        "Properties": {
            # AWS advises six times the function's time, so that a throttled batch is not seen twice.
            "VisibilityTimeout": 6 * _FUNCTION_SECONDS,
            "MessageRetentionPeriod": 4 * 24 * 3600,
            "SqsManagedSseEnabled": True,
            "RedrivePolicy": {"deadLetterTargetArn": attribute_arn("UndeliveredWebhooks"), "maxReceiveCount": ATTEMPTS},
        },
    }


def _dead_letters() -> Resource:
    """A receiver that is down is no fault of ours: this queue has no alarm, unlike FailedTasks."""
    return {
        "Type": "AWS::SQS::Queue",
        "Properties": {"MessageRetentionPeriod": 14 * 24 * 3600, "SqsManagedSseEnabled": True},
    }


def _dispatch_mapping() -> Resource:
    return {
        "Type": "AWS::Lambda::EventSourceMapping",
        # The mapping is checked against the function's role when it is made.
        "DependsOn": ["DispatchEventsRole"],
        "Properties": {
            "EventSourceArn": {"Fn::GetAtt": ["EventsTable", "StreamArn"]},
            "FunctionName": {"Ref": "DispatchEvents"},
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": 25,
            "FilterCriteria": {"Filters": [{"Pattern": json.dumps(_OUTBOX)}]},
            "BisectBatchOnFunctionError": True,
            "MaximumRetryAttempts": 8,
            "DestinationConfig": {"OnFailure": {"Destination": attribute_arn("FailedTasks")}},
        },
    }


def _delivery_mapping() -> Resource:
    """One message at a time: a slow receiver holds up no other's."""
    return {
        "Type": "AWS::Lambda::EventSourceMapping",
        "DependsOn": ["DeliverWebhookRole"],
        "Properties": {
            "EventSourceArn": attribute_arn("WebhookQueue"),
            "FunctionName": {"Ref": "DeliverWebhook"},
            "BatchSize": 1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": 20},
        },
    }


def _resume() -> Resource:
    description = "Takes up events and deliveries whose messages were lost."
    return schedule("DispatchEvents", "ResumeSchedulerRole", description, "rate(1 hour)")
