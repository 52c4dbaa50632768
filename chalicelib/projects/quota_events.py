"""What webhooks are told of quotas; the audit log, as Harbor's, is told nothing of them."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.events import store as audit
from chalicelib.events.records import Actor, Event
from chalicelib.events.topics import EXCEEDED, WARNED
from chalicelib.oci.names import project_of
from chalicelib.projects import quotas, rules
from chalicelib.projects.records import UNLIMITED, Project
from chalicelib.projects.store.usage import Total

_WARNING_PERCENT = 85
"""Of the limit (Harbor, src/server/middleware/quota)."""


def tell_exceeded(actor: Actor, repository: str, reason: str, digest: str = "", tag: str | None = None) -> None:
    """Tell that a push or an upload was refused: one write, if a webhook is to be told, else nothing."""
    project = rules.find(project_of(repository))
    if project is not None and EXCEEDED in project.webhook_events:
        audit.publish(_event(EXCEEDED, actor, project, repository, digest, tag, reason))


def warning(
    actor: Actor, project: Project, repository: str, digest: str, tag: str | None, totals: Sequence[Total], added: int
) -> Event | None:
    """What is told of a push with which the project's usage is near its limit, if it is and anybody is to be told.

    `totals` are from before the push, which adds `added` bytes.
    """
    limit = project.storage_limit
    if limit == UNLIMITED or WARNED not in project.webhook_events:
        return None
    used = sum(total.used for total in totals) + added
    if used * 100 < limit * _WARNING_PERCENT:
        return None
    reason = (
        f"quota usage reach {_WARNING_PERCENT}%: resource storage used {quotas.displayed(used)} "
        f"of {quotas.displayed(limit)}"
    )
    return _event(WARNED, actor, project, repository, digest, tag, reason)


def _event(
    topic: str, actor: Actor, project: Project, repository: str, digest: str, tag: str | None, reason: str
) -> Event:
    detail = {"repository": repository, "digest": digest, "tag": tag or "", "reason": reason}
    return Event("update", "quota", project.name, actor, project_id=project.project_id, topic=topic, detail=detail)
