"""Policies of webhooks, their targets, and deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chalicelib.events.topics import COLLECTED
from chalicelib.jobs.records import Status

HTTP, SLACK = "http", "slack"
DEFAULT, CLOUD_EVENTS = "Default", "CloudEvents"

SYSTEM_EVENT_TYPES = (COLLECTED,)
"""Events of the whole registry: a policy of any project is told of them, if an administrator of the system wrote it."""


@dataclass(frozen=True)
class Target:
    """Where a policy's events are sent. `auth_header` is the value of the Authorization header, and secret."""

    type: str
    address: str
    auth_header: str = field(default="", repr=False)
    skip_cert_verify: bool = False
    payload_format: str = ""
    """Of http alone: slack's is its own."""

    def is_same_place(self, other: Target) -> bool:
        return (self.type, self.address) == (other.type, other.address)


@dataclass(frozen=True)
class Policy:
    """Times are milliseconds since 1970."""

    number: int
    project_id: int
    name: str
    description: str
    targets: Sequence[Target]
    event_types: Sequence[str]
    enabled: bool
    creator: str
    created: int
    updated: int


@dataclass(frozen=True)
class Message:
    """What webhooks are to be told: an item of the outbox."""

    key: str
    """The sort key in the outbox, which tells time and id."""
    partition: str
    topic: str
    project_id: int
    """0 for an event of the whole registry."""
    operator: str
    detail: Mapping[str, Any]

    @property
    def time(self) -> int:
        return int(self.key.partition("|")[0])

    @property
    def event_id(self) -> str:
        return self.key.partition("|")[2]


@dataclass(frozen=True)
class Delivery:
    """The sending of one event to one target: Harbor's execution, its one task and its job. `target` has no secret."""

    project_id: int
    policy: int
    number: int
    event_id: str
    topic: str
    target: Target
    headers: Mapping[str, str]
    body: str
    status: Status
    attempts: int
    created: int
    updated: int
    log: Sequence[str]
    """A line for each attempt."""
    version: str
