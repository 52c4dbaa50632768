"""Looking at deliveries: each is Harbor's execution and its only task."""

from __future__ import annotations

from chalicelib.webhooks.errors import DeliveryNotFoundError
from chalicelib.webhooks.records import Delivery, Policy
from chalicelib.webhooks.store import deliveries as table


def get(policy: Policy, number: int) -> Delivery:
    """Raises DeliveryNotFoundError."""
    delivery = table.read(policy.number, number)
    if delivery is None:
        raise DeliveryNotFoundError(f"webhook policy {policy.number} has no execution {number}")
    return delivery


def require_task(delivery: Delivery, number: int) -> None:
    """Raises DeliveryNotFoundError for any number but the task's, which is the execution's."""
    if number != delivery.number:
        raise DeliveryNotFoundError(f"execution {delivery.number} has no task {number}")
