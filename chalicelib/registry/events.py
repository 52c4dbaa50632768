"""What is told of artifacts, tags and repositories that are pushed, pulled and deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.events.records import Actor, Event
from chalicelib.events.topics import DELETED, PUSHED
from chalicelib.oci.names import project_of
from chalicelib.projects import rules


def pushed(actor: Actor, repository: str, digest: str, tag: str | None) -> Event:
    """As in Harbor every push is told, by its tag if it has one, also one that finds the artifact there."""
    return of_artifact("create", PUSHED, actor, repository, digest, tag)


def deleted(actor: Actor, repository: str, digest: str, tag: str | None) -> Event:
    """Of an artifact; `tag` is one of those that it had, if any. The log tells its digest, as Harbor's does."""
    event = of_artifact("delete", DELETED, actor, repository, digest, tag)
    return replace(event, resource=f"{repository}:{digest}")


def tag_deleted(actor: Actor, repository: str, tag: str) -> Event:
    return _event("delete", "tag", f"{repository}:{tag}", actor, repository)


def repository_deleted(actor: Actor, repository: str) -> Event:
    return _event("delete", "repository", repository, actor, repository)


def of_artifact(operation: str, topic: str, actor: Actor, repository: str, digest: str, tag: str | None) -> Event:
    """An event of an artifact, which webhooks are notified of as `topic` if the project wants it."""
    detail = {"repository": repository, "digest": digest, "tag": tag or digest, "registry": actor.registry}
    return _event(operation, "artifact", f"{repository}:{tag or digest}", actor, repository, topic, detail)


def _event(
    operation: str,
    resource_type: str,
    resource: str,
    actor: Actor,
    repository: str,
    topic: str = "",
    detail: Mapping[str, Any] | None = None,
) -> Event:
    """The project is as a request knows it already, so asking for it costs no call."""
    project = rules.find(project_of(repository))
    return Event(
        operation,
        resource_type,
        resource,
        actor,
        project_id=project.project_id if project else 0,
        description=f"{operation} {resource_type}: {resource}",
        topic=topic if project and topic in project.webhook_events else "",
        detail=detail or {},
    )
