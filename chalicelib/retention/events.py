"""What webhooks are told of tag retention: one event for each repository out of which something was deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.events.records import Actor, Event
from chalicelib.events.topics import FINISHED
from chalicelib.projects.records import Project

_DELETED = 500
"""Artifacts that are named: the event must fit an item of its table."""


def finished(
    project: Project, trigger: str, detail: Mapping[str, Any], deleted: Sequence[Mapping[str, Any]]
) -> Event | None:
    """`detail` and `deleted` are what chalicelib/webhooks/payloads.py makes of them. None if nobody is to be told.

    As in Harbor the operator is what triggered the execution.
    """
    if not deleted or FINISHED not in project.webhook_events:
        return None
    told = {**detail, "project": project.name, "deleted": list(deleted[:_DELETED])}
    return Event(
        "delete", "retention", project.name, Actor(trigger), project_id=project.project_id, topic=FINISHED, detail=told
    )
