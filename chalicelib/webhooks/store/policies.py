"""The Projects table: policies of webhooks.

The project's own item says of which events any enabled policy wants to be told: a push reads that anyway, so it knows
without a call whether there is anything for the outbox. Both are written in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.projects.records import Project
from chalicelib.projects.store.projects import LIVE, PROJECT
from chalicelib.settings import settings
from chalicelib.storage import counters, reads, tables
from chalicelib.storage.conditions import new_id
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import padded
from chalicelib.storage.transactions import transact
from chalicelib.webhooks.records import SYSTEM_EVENT_TYPES, Policy, Target

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

_WEBHOOK = "webhook"
_SUBSCRIBED = "webhooks-of|"


def read(project_id: int, number: int) -> Policy | None:
    item = reads.get_item(Key(settings().projects_table, _partition(project_id), padded(number)))
    return _to_policy(item) if item else None


def read_all(project_id: int) -> list[Policy]:
    """The policies of a project, by number."""
    return [_to_policy(item) for item in reads.query_all(settings().projects_table, _partition(project_id), "")]


def next_number() -> int:
    """A number that no policy had before."""
    return counters.project_number(_WEBHOOK)


def save(project: Project, policy: Policy, events: Sequence[str], event: Event) -> bool:
    """Write a policy, and `events`, of which all policies want to be told. False when the project has changed."""

    def write(transaction: TransactWrite) -> None:
        transaction.save(_to_item(policy))
        _change(transaction, project, events, event)

    return transact(write)


def delete(project: Project, policy: Policy, events: Sequence[str], event: Event) -> bool:
    """Remove a policy, as `save` writes one."""

    def write(transaction: TransactWrite) -> None:
        transaction.delete(_to_item(policy), condition=tables.WebhookItem.pk.exists())
        _change(transaction, project, events, event)

    return transact(write)


def delete_all(project_id: int) -> None:
    """Remove the policies of a project that is gone, so that none is added meanwhile."""
    for policy in read_all(project_id):
        _to_item(policy).delete()
    for name in SYSTEM_EVENT_TYPES:
        _subscriber(name, project_id).delete()


def subscribers(event_type: str) -> list[int]:
    """The numbers of the projects of which a policy is told of an event of the whole registry."""
    items = reads.query_all(settings().projects_table, f"{_SUBSCRIBED}{event_type}", "")
    return [int(item["sk"]) for item in items]


def _change(transaction: TransactWrite, project: Project, events: Sequence[str], event: Event) -> None:
    transaction.update(
        tables.ProjectItem(PROJECT, project.name),
        actions=[tables.ProjectItem.webhook_events.set(list(events)), tables.ProjectItem.version.set(new_id())],
        condition=(tables.ProjectItem.version == project.version) & (tables.ProjectItem.state == LIVE),
    )
    for name in SYSTEM_EVENT_TYPES:
        subscriber = _subscriber(name, project.project_id)
        if name in events:
            transaction.save(subscriber)
        else:
            transaction.delete(subscriber)
    audit.record(transaction, event)


def _subscriber(event_type: str, project_id: int) -> tables.SubscriberItem:
    return tables.SubscriberItem(f"{_SUBSCRIBED}{event_type}", padded(project_id))


def _partition(project_id: int) -> str:
    return f"{_WEBHOOK}|{padded(project_id)}"


def _to_item(policy: Policy) -> tables.WebhookItem:
    return tables.WebhookItem(
        _partition(policy.project_id),
        padded(policy.number),
        name=policy.name,
        description=policy.description,
        targets=[vars(target) for target in policy.targets],
        event_types=list(policy.event_types),
        enabled=policy.enabled,
        creator=policy.creator,
        created=policy.created,
        updated=policy.updated,
    )


def _to_policy(item: Item) -> Policy:
    targets: list[dict[str, Any]] = json.loads(item["targets"])
    return Policy(
        int(item["sk"]),
        int(item["pk"].partition("|")[2]),
        item["name"],
        item["description"],
        tuple(Target(**target) for target in targets),
        tuple(json.loads(item["event_types"])),
        item["enabled"],
        item["creator"],
        item["created"],
        item["updated"],
    )
