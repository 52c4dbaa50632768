"""Policies of webhooks: which events of a project go where (Harbor, src/server/v2.0/handler/webhook.go)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from chalicelib import outbound, retrying
from chalicelib.events.records import Actor, Event
from chalicelib.events.topics import DELETED, EXCEEDED, FINISHED, PULLED, PUSHED, WARNED
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from chalicelib.storage.conditions import now
from chalicelib.webhooks.errors import (
    PoliciesChangedError,
    PolicyExistsError,
    PolicyInvalidError,
    PolicyNotFoundError,
)
from chalicelib.webhooks.records import CLOUD_EVENTS, DEFAULT, HTTP, SLACK, SYSTEM_EVENT_TYPES, Message, Policy, Target
from chalicelib.webhooks.store import policies as table

PROJECT_EVENT_TYPES = (PUSHED, PULLED, DELETED, EXCEEDED, WARNED, FINISHED)
"""Those that can happen: of an event that nothing fires, nobody is promised to be told."""
EVENT_TYPES = PROJECT_EVENT_TYPES + SYSTEM_EVENT_TYPES
_LATER = ("REPLICATION", "SCANNING_COMPLETED", "SCANNING_FAILED", "SCANNING_STOPPED")
"""Harbor's that do not happen yet. A policy may name them: those that Harbor made name them all."""
TARGET_TYPES = (HTTP, SLACK)
FORMATS = (CLOUD_EVENTS, DEFAULT)
KEPT_SECRET = "******"  # noqa: S105 -- what is shown in its place
"""Stands for a target's Authorization header where it is not shown; in an update, for the one that is there."""

_POLICIES, _TARGETS = 50, 10
"""Of a project, of a policy: each event is matched with all of them."""
_TARGETS_OF_PROJECT = 50
"""Of all policies together: an event, such as anyone's pull, is as many requests to servers that a user names."""
_NAME_LENGTH, _DESCRIPTION_LENGTH, _ADDRESS_LENGTH, _HEADER_LENGTH = 255, 1024, 2048, 4096


def list_all(project: Project) -> list[Policy]:
    """The project's policies, by number."""
    return table.read_all(project.project_id)


def get(project: Project, number: int) -> Policy:
    """Raises PolicyNotFoundError."""
    policy = table.read(project.project_id, number)
    if policy is None:
        raise PolicyNotFoundError(f"project {project.name} has no webhook policy {number}")
    return policy


def create(project: Project, asked: Policy, actor: Actor) -> Policy:
    """Add a policy. Raises PolicyInvalidError, PolicyExistsError or PoliciesChangedError."""
    _require_valid(asked)
    time = now()
    policy = replace(asked, number=table.next_number(), creator=actor.name, created=time, updated=time)

    def save(current: Project, present: Sequence[Policy]) -> bool:
        if len(present) >= _POLICIES:
            raise PolicyInvalidError(f"a project has up to {_POLICIES} webhook policies")
        return _save(current, policy, present, _event("create", project, policy, actor))

    _until_unchanged(project, save)
    return policy


def update(project: Project, number: int, asked: Policy, actor: Actor) -> None:
    """Change a policy; a secret that `asked` does not show stays. Raises as `create` does, or PolicyNotFoundError."""

    def save(current: Project, present: Sequence[Policy]) -> bool:
        before = _found(present, project, number)
        policy = replace(
            asked,
            number=number,
            targets=tuple(_with_secret(target, before.targets) for target in asked.targets),
            creator=before.creator,
            created=before.created,
            updated=now(),
        )
        _require_valid(policy)
        others = [each for each in present if each.number != number]
        return _save(current, policy, others, _event("update", project, policy, actor))

    _until_unchanged(project, save)


def delete(project: Project, number: int, actor: Actor) -> None:
    """Raises PolicyNotFoundError or PoliciesChangedError."""

    def remove(current: Project, present: Sequence[Policy]) -> bool:
        policy = _found(present, project, number)
        others = [each for each in present if each.number != number]
        return table.delete(current, policy, _events(others), _event("delete", project, policy, actor))

    _until_unchanged(project, remove)


def concerned(message: Message) -> list[Policy]:
    """The policies that are to be told of an event: of its project, or of all that asked for one of the system's."""
    projects = [message.project_id] if message.project_id else table.subscribers(message.topic)
    found = [policy for project_id in projects for policy in table.read_all(project_id)]
    return [policy for policy in found if policy.enabled and message.topic in policy.event_types]


def _save(project: Project, policy: Policy, others: Sequence[Policy], event: Event) -> bool:
    if any(each.name == policy.name for each in others):
        raise PolicyExistsError(f"the project has a webhook policy named {policy.name}")
    if sum(len(each.targets) for each in (*others, policy)) > _TARGETS_OF_PROJECT:
        raise PolicyInvalidError(f"the webhook policies of a project have up to {_TARGETS_OF_PROJECT} targets together")
    return table.save(project, policy, _events([*others, policy]), event)


def _until_unchanged(project: Project, attempt: Callable[[Project, Sequence[Policy]], bool]) -> None:
    """Try with the project and its policies as they are now, in this order: a change of a policy changes both."""
    for _ in retrying.attempts(retrying.LOW):
        current = rules.get(project.name)
        if attempt(current, table.read_all(project.project_id)):
            rules.forget(project.name)
            return
    raise PoliciesChangedError(f"the project {project.name} is being changed by others: try again")


def _found(present: Sequence[Policy], project: Project, number: int) -> Policy:
    for policy in present:
        if policy.number == number:
            return policy
    raise PolicyNotFoundError(f"project {project.name} has no webhook policy {number}")


def _events(present: Sequence[Policy]) -> list[str]:
    """Of what any of the policies wants to be told."""
    return sorted({name for policy in present if policy.enabled for name in policy.event_types})


def _event(operation: str, project: Project, policy: Policy, actor: Actor) -> Event:
    description = f"{operation} webhook policy: {policy.name} of {project.name}"
    return Event(operation, "webhook", policy.name, actor, project_id=project.project_id, description=description)


def _with_secret(target: Target, before: Sequence[Target]) -> Target:
    """The target with the header that it had. A secret does not follow to another address: it would be told there."""
    if target.auth_header != KEPT_SECRET:
        return target
    kept = next((each.auth_header for each in before if each.is_same_place(target)), "")
    return replace(target, auth_header=kept)


def _require_valid(policy: Policy) -> None:
    """Raises PolicyInvalidError."""
    if not 1 <= len(policy.name.strip()) <= _NAME_LENGTH or len(policy.description) > _DESCRIPTION_LENGTH:
        raise PolicyInvalidError(
            f"a policy's name has 1 to {_NAME_LENGTH} characters, its description up to {_DESCRIPTION_LENGTH}"
        )
    if not policy.event_types:
        raise PolicyInvalidError("empty event type")
    for name in policy.event_types:
        if name not in EVENT_TYPES + _LATER:
            raise PolicyInvalidError(f"unsupported event type {name[:64]}")
    if not 1 <= len(policy.targets) <= _TARGETS:
        raise PolicyInvalidError(f"a policy has 1 to {_TARGETS} targets")
    for target in policy.targets:
        _require_target(target)


def _require_target(target: Target) -> None:
    if target.type not in TARGET_TYPES:
        raise PolicyInvalidError(f"unsupported target type {target.type[:64]}")
    if target.type == SLACK and target.payload_format:
        raise PolicyInvalidError("set payload format is not allowed for slack")
    if target.payload_format and target.payload_format not in FORMATS:
        raise PolicyInvalidError(f"unsupported payload format type: {target.payload_format[:64]}")
    header = target.auth_header
    if len(header) > _HEADER_LENGTH or not header.isascii() or (header and not header.isprintable()):
        raise PolicyInvalidError(f"an auth header has up to {_HEADER_LENGTH} printable characters of ASCII")
    _require_address(target.address)


def _require_address(address: str) -> None:
    """That it can be called at all; a name is resolved, and checked, when it is called."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise PolicyInvalidError("the address of a target is no URL") from error
    is_url = parts.scheme in ("http", "https") and host and address.isascii() and address.isprintable()
    if not is_url or " " in address or len(address) > _ADDRESS_LENGTH or port == 0 or parts.username is not None:
        raise PolicyInvalidError("the address of a target must be a URL of http or https, without a user's name in it")
    try:
        outbound.check_host(host)
    except outbound.OutboundError as error:
        raise PolicyInvalidError(str(error)) from error
