"""The Projects table: policies of tag retention. A project names its own in its metadata, as Harbor's do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chalicelib.projects.records import Project
from chalicelib.projects.store.projects import LIVE, PROJECT
from chalicelib.retention.records import Policy
from chalicelib.settings import settings
from chalicelib.storage import counters, reads, tables
from chalicelib.storage.conditions import new_id, now, write_if
from chalicelib.storage.reads import Key
from chalicelib.storage.tables.keys import padded
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.expressions.update import Action
    from pynamodb.transactions import TransactWrite

RETENTION = "retention"
RETENTION_ID = "retention_id"
"""The setting of a project that holds its policy's number."""


def read(number: int) -> Policy | None:
    item = reads.get_item(Key(settings().projects_table, RETENTION, padded(number)))
    if item is None:
        return None
    return Policy(number, item["project_id"], json.loads(item["rules"]), item["cron"], item["version"])


def create(project: Project, rules: Sequence[Mapping[str, Any]], cron: str) -> Policy | None:
    """Write a policy, and its number in its project. None when the project has changed since it was read."""
    policy = Policy(counters.project_number(RETENTION), project.project_id, rules, cron, new_id())

    def write(transaction: TransactWrite) -> None:
        transaction.save(_to_item(policy), condition=tables.RetentionItem.pk.does_not_exist())
        _name(transaction, project, {**project.metadata, RETENTION_ID: str(policy.number)})

    return policy if transact(write) else None


def replace(before: Policy, rules: Sequence[Mapping[str, Any]], cron: str) -> bool:
    """Change a policy. False when it has changed since it was read, or is gone."""
    after = Policy(before.number, before.project_id, rules, cron, new_id())
    return write_if(_to_item(after).save, condition=tables.RetentionItem.version == before.version)


def delete(policy: Policy, project: Project) -> bool:
    """Remove a policy, and its number from its project. False when the project has changed since it was read."""

    def write(transaction: TransactWrite) -> None:
        transaction.delete(tables.RetentionItem(RETENTION, padded(policy.number)))
        _name(transaction, project, {name: text for name, text in project.metadata.items() if name != RETENTION_ID})

    return transact(write)


def delete_orphan(number: int) -> None:
    """Remove the policy of a project that is gone."""
    tables.RetentionItem(RETENTION, padded(number)).delete()


def _name(transaction: TransactWrite, project: Project, metadata: Mapping[str, str]) -> None:
    actions: list[Action] = [
        tables.ProjectItem.metadata.set(dict(metadata)),
        tables.ProjectItem.version.set(new_id()),
        tables.ProjectItem.updated.set(now()),
    ]
    condition = (tables.ProjectItem.version == project.version) & (tables.ProjectItem.state == LIVE)
    transaction.update(tables.ProjectItem(PROJECT, project.name), actions=actions, condition=condition)


def _to_item(policy: Policy) -> tables.RetentionItem:
    return tables.RetentionItem(
        RETENTION,
        padded(policy.number),
        project_id=policy.project_id,
        rules=list(policy.rules),
        cron=policy.cron,
        version=policy.version,
    )
