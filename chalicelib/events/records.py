"""Who acts, and what is told of it: the actor that domain functions are given, and the event that they write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.storage.conditions import new_id, now

ANONYMOUS_NAME = "anonymous"
"""As Harbor names clients that pull without logging in (src/controller/event/topic.go)."""


@dataclass(frozen=True)
class Actor:
    """Who does something: a user's or robot's name, and the address that the request came from."""

    name: str
    address: str = ""
    registry: str = ""
    """Host and port by which the request named the registry, for what others are told of it."""


JOBS = Actor("harbor-jobservice")
"""What retention, collection and other jobs act as, as in Harbor. They come from no address."""


@dataclass(frozen=True)
class Event:
    """Something that was done, or that was tried and failed. Times are milliseconds since 1970.

    It is written in the transaction that does it (chalicelib/events/store.py), so it is there exactly if it happened.
    """

    operation: str
    resource_type: str
    resource: str
    actor: Actor
    project_id: int = 0
    """0 for what belongs to no project."""
    description: str = ""
    is_successful: bool = True
    topic: str = ""
    """Harbor's name of the webhook event, such as PUSH_ARTIFACT; empty when no webhook is to be told."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What the webhook's payload is made of (chalicelib/webhooks/payloads.py)."""
    time: int = field(default_factory=now)
    id: str = field(default_factory=new_id)

    @property
    def type(self) -> str:
        """Harbor's name of the kind, such as `create_artifact`."""
        return f"{self.operation}_{self.resource_type}"
