"""The events that webhooks can be notified of."""

from __future__ import annotations

PUSHED, PULLED, DELETED = "PUSH_ARTIFACT", "PULL_ARTIFACT", "DELETE_ARTIFACT"
"""Harbor's names of the webhook events (src/controller/event/topic.go)."""


EXCEEDED, WARNED = "QUOTA_EXCEED", "QUOTA_WARNING"
"""Harbor's names of the webhook events (src/controller/event/topic.go)."""


FINISHED = "TAG_RETENTION"
"""Harbor's name of the webhook event (src/controller/event/topic.go)."""


COLLECTED = "GARBAGE_COLLECTION"
"""Berth's own webhook event: Harbor tells nobody. It belongs to no project (chalicelib/webhooks/policies.py)."""
