"""What is sent: Harbor's own JSON, CloudEvents 1.0, or a message of Slack (Harbor, src/pkg/notifier)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chalicelib.events.topics import COLLECTED
from chalicelib.projects import rules
from chalicelib.registry.store import repositories
from chalicelib.settings import settings
from chalicelib.webhooks.records import CLOUD_EVENTS, SLACK, Message, Policy, Target

CLOUD_EVENT_TYPES = {
    "PUSH_ARTIFACT": "harbor.artifact.pushed",
    "PULL_ARTIFACT": "harbor.artifact.pulled",
    "DELETE_ARTIFACT": "harbor.artifact.deleted",
    "QUOTA_EXCEED": "harbor.quota.exceeded",
    "QUOTA_WARNING": "harbor.quota.warned",
    "TAG_RETENTION": "harbor.tag_retention.finished",
    COLLECTED: "berth.garbage_collection.finished",
}
"""Source: Harbor, src/pkg/notifier/formats/cloudevents.go; the last is Berth's own."""

_SUCCESS = "SUCCESS"

_NAMESPACE = uuid.UUID("5a4cf0b6-23e2-4c53-a6f5-0cb8b1f6cf1f")
"""Makes the ids of CloudEvents: the same for the same event and policy, so that a receiver knows a repetition."""


def data_of(message: Message) -> dict[str, Any]:
    """Harbor's `event_data`."""
    return _DATA.get(message.topic, _of_artifact)(message)


def _of_artifact(message: Message) -> dict[str, Any]:
    """The artifact, and its repository as it is now."""
    name, digest, tag = (str(message.detail[each]) for each in ("repository", "digest", "tag"))
    separator = "@" if tag == digest else ":"
    host = str(message.detail.get("registry") or "") or settings().registry_url.partition("://")[2]
    found = repositories.read(name)
    repository = {**({"date_created": found.created // 1000} if found else {}), **_repository(name)}
    address = f"{host}/{name}{separator}{tag}" if host else f"{name}{separator}{tag}"
    return {"resources": [{"digest": digest, "tag": tag, "resource_url": address}], "repository": repository}


def _of_quota(message: Message) -> dict[str, Any]:
    """What was pushed, if it was a manifest, and why it was refused or warned of.

    Source: Harbor, src/controller/event/handler/webhook/quota/quota.go.
    """
    digest, tag = message.detail["digest"], message.detail["tag"]
    return {
        **({"resources": [{"digest": digest, "tag": tag}]} if digest else {}),
        "repository": _repository(message.detail["repository"]),
        "custom_attributes": {"Details": message.detail["reason"]},
    }


def _of_retention(message: Message) -> dict[str, Any]:
    """What retention has made of one repository.

    Source: Harbor, src/controller/event/handler/webhook/artifact/retention.go; but it names the last artifact alone.
    """
    detail = message.detail
    host = settings().registry_url.partition("://")[2].partition(":")[0]
    deleted = [
        {"type": each["type"], "status": _SUCCESS, "name_tag": each["name_tag"], "references": each["references"]}
        for each in detail["deleted"]
    ]
    return {
        "retention": {
            "total": detail["total"],
            "retained": detail["retained"],
            **({"harbor_hostname": host} if host else {}),
            "project_name": detail["project"],
            "retention_policy_id": detail["policy"],
            "retention_rule": detail["rules"],
            "result": _SUCCESS,
            "deleted_artifact": deleted,
        }
    }


def _of_collection(message: Message) -> dict[str, Any]:
    """How a garbage collection has ended, and what it freed: chalicelib/gc/events.py."""
    return {"garbage_collection": dict(message.detail)}


def _repository(name: str) -> dict[str, Any]:
    project, _, below = name.partition("/")
    owner = rules.find(project)
    return {
        "name": below,
        "namespace": project,
        "repo_full_name": name,
        "repo_type": "public" if owner is not None and owner.public else "private",
    }


_DATA = {
    "QUOTA_EXCEED": _of_quota,
    "QUOTA_WARNING": _of_quota,
    "TAG_RETENTION": _of_retention,
    COLLECTED: _of_collection,
}


def render(message: Message, data: Mapping[str, Any], policy: Policy, target: Target) -> tuple[dict[str, str], str]:
    """The headers and the body for one target."""
    if target.type == SLACK:
        return {"Content-Type": "application/json"}, json.dumps(_slack(message, data))
    if target.payload_format == CLOUD_EVENTS:
        return {"Content-Type": "application/cloudevents+json"}, json.dumps(_cloud_event(message, data, policy))
    return {"Content-Type": "application/json"}, json.dumps(_default(message, data))


def _default(message: Message, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": message.topic,
        "occur_at": message.time // 1000,
        "operator": message.operator,
        "event_data": data,
    }


def _cloud_event(message: Message, data: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    source = f"/projects/{policy.project_id}/webhook/policies/{policy.number}"
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid5(_NAMESPACE, f"{message.event_id} {source}")),
        "source": source,
        "type": CLOUD_EVENT_TYPES[message.topic],
        "datacontenttype": "application/json",
        "time": datetime.fromtimestamp(message.time // 1000, UTC).isoformat().replace("+00:00", "Z"),
        "data": data,
        "requestid": message.event_id,
        "operator": message.operator,
    }


def _slack(message: Message, data: Mapping[str, Any]) -> dict[str, Any]:
    """Source: Harbor, src/pkg/notifier/handler/notification/slack_handler.go."""
    seconds = message.time // 1000
    texts = [
        "*Harbor webhook events*",
        f"*event_type:* {message.topic}",
        f"*occur_at:* <!date^{seconds}^{{date}} at {{time}}|February 18th, 2014 at 6:39 AM PST>",
        f"*operator:* {_escaped(message.operator)}",
        "*event_data:*",
        f"```{_escaped(json.dumps(data, indent=1))}```",
    ]
    return {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in texts]}


def _escaped(text: str) -> str:
    """What Slack would read as markup: a name must not make links or call people (Slack: Formatting text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
