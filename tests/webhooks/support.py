"""Policies to tell a receiver, and deliveries waited for."""

from __future__ import annotations

import time

from chalicelib.events.records import Actor
from chalicelib.projects import rules
from chalicelib.webhooks import policies
from chalicelib.webhooks.records import Delivery, Policy, Target
from chalicelib.webhooks.store import deliveries as table

ALICE = Actor("alice", "203.0.113.7", "registry.example.com")


def policy_of(
    project: str, *targets: Target, events: tuple[str, ...] = policies.PROJECT_EVENT_TYPES, name: str = "told"
) -> Policy:
    found = rules.get(project)
    return policies.create(found, Policy(0, found.project_id, name, "", targets, events, True, "", 0, 0), ALICE)


def http(url: str, **more: object) -> Target:
    return Target("http", url, **{"payload_format": "Default", **more})  # type: ignore[arg-type]


def finished(policy: Policy, number: int = 1, seconds: float = 60) -> list[Delivery]:
    """The policy's deliveries, newest first, once there are so many and all have ended."""
    deadline = time.monotonic() + seconds
    while True:
        found = table.newest(policy.number)
        if len(found) == number and all(each.status.is_final for each in found):
            return found
        assert time.monotonic() < deadline, [(each.status, each.log) for each in found]
        time.sleep(0.1)
