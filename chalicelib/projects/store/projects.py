"""The Projects table: projects, and their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.projects.records import UNLIMITED, Project
from chalicelib.projects.store import directory, members, usage
from chalicelib.projects.store.members import Member
from chalicelib.projects.store.usage import Adjustment
from chalicelib.settings import settings
from chalicelib.storage import counters, reads, tables
from chalicelib.storage.conditions import new_id, now, write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import ADMINISTRATOR, CATALOG_PREFIX, padded
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.expressions.update import Action
    from pynamodb.transactions import TransactWrite

PROJECT = "project"
PROJECT_ID = "project-id"
IMMUTABLE_RULE = "immutable-rule"
REGISTRY = "registry"

LIVE = "live"
DELETING = "deleting"


def project_key(name: str) -> Key:
    return Key(settings().projects_table, PROJECT, name)


def read(name: str) -> Project | None:
    """The project of this name, be it live or being deleted."""
    item = reads.get_item(project_key(name))
    return _to_project(item) if item else None


def read_each(names: Iterable[str]) -> dict[str, Project]:
    """The projects of these names that exist, by name: one call for each hundred."""
    items = reads.get_items(Key(settings().projects_table, PROJECT, name) for name in names)
    return {item["sk"]: _to_project(item) for item in items.values()}


def read_each_by_id(project_ids: Iterable[int]) -> list[Project]:
    """The projects with these numbers that exist, by name: two calls for each hundred."""
    wanted = frozenset(project_ids)
    keys = [Key(settings().projects_table, PROJECT_ID, str(number)) for number in wanted]
    found = read_each(item["name"] for item in reads.get_items(keys).values())
    # A name changes hands only by a delete: what was read before it may be another project now.
    return [found[name] for name in sorted(found) if found[name].project_id in wanted]


def read_page(start: int, limit: int) -> list[Project]:
    """The projects with the indexes `start` up to `start + limit` of those that `read_all` lists."""
    return [_to_project(item) for item in reads.query_page(settings().projects_table, PROJECT, "", start, limit)]


def takes_repositories(name: str) -> bool:
    """Whether the project is there and not being deleted: what a transaction that adds a repository requires."""
    item = reads.get_item(project_key(name), ("state",))
    return item is not None and item["state"] == LIVE


def read_name(project_id: int) -> str | None:
    """The name of the project with this number."""
    item = reads.get_item(Key(settings().projects_table, PROJECT_ID, str(project_id)))
    return str(item["name"]) if item else None


def read_all() -> list[Project]:
    """Every project, by name in byte order."""
    return [_to_project(item) for item in reads.query_all(settings().projects_table, PROJECT, "")]


def next_id() -> int:
    """A number that no project had before. Numbers of creations that fail are lost."""
    return counters.project_number(PROJECT)


def create(
    name: str,
    owner: Member,
    *,
    public: bool,
    metadata: Mapping[str, str],
    storage_limit: int,
    registry_id: int,
    event: Event,
) -> Project | None:
    """Write a project, its number, its room and its first member, all or nothing.

    None when the name is taken, or when the upstream registry `registry_id` (0 for none) is not there.
    """
    time = now()
    project = Project(
        name,
        owner.project_id,
        public,
        owner.name,
        owner.entity.number,
        time,
        time,
        new_id(),
        dict(metadata),
        0,
        storage_limit=storage_limit,
        registry_id=registry_id,
    )

    def write(transaction: TransactWrite) -> None:
        transaction.save(
            tables.ProjectItem(
                PROJECT,
                name,
                project_id=owner.project_id,
                public=public,
                owner=owner.name,
                owner_number=owner.entity.number,
                metadata=dict(metadata),
                repositories=0,
                storage_limit=storage_limit,
                registry_id=registry_id or None,
                state=LIVE,
                version=project.version,
                created=time,
                updated=time,
            ),
            condition=tables.ProjectItem.pk.does_not_exist(),
        )
        transaction.save(tables.ProjectIdItem(PROJECT_ID, str(owner.project_id), name=name))
        directory.add(transaction, name, public=public)
        members.add(transaction, owner)
        if storage_limit != UNLIMITED:
            usage.make_room(transaction, owner.project_id, storage_limit)
        if registry_id:
            _count_at_registry(transaction, registry_id, 1)
        audit.record(transaction, event)

    return project if transact(write) else None


def update(before: Project, *, public: bool, metadata: Mapping[str, str], event: Event) -> bool:
    """Change a project's settings. False when it has changed since it was read, or is gone.

    Also when the number of its repositories has, while it becomes public or private: they are counted apart.
    """
    actions: list[Action] = [
        tables.ProjectItem.public.set(public),
        tables.ProjectItem.metadata.set(dict(metadata)),
        tables.ProjectItem.updated.set(now()),
        tables.ProjectItem.version.set(new_id()),
    ]
    condition = (tables.ProjectItem.version == before.version) & (tables.ProjectItem.state == LIVE)
    if public != before.public:
        condition &= tables.ProjectItem.repositories == before.repositories

    def write(transaction: TransactWrite) -> None:
        transaction.update(tables.ProjectItem(PROJECT, before.name), actions=actions, condition=condition)
        if public != before.public:
            directory.remove(transaction, before.name, public=before.public, repositories=before.repositories)
            directory.add(transaction, before.name, public=public, repositories=before.repositories)
        audit.record(transaction, event)

    return transact(write)


def set_storage_limit(before: Project, limit: int) -> bool:
    """Change how much a project may store, and its room with it. False when it has changed since it was read."""
    room = _room(limit) - _room(before.storage_limit)

    def write(transaction: TransactWrite) -> None:
        transaction.update(
            tables.ProjectItem(PROJECT, before.name),
            actions=[
                tables.ProjectItem.storage_limit.set(limit),
                tables.ProjectItem.updated.set(now()),
                tables.ProjectItem.version.set(new_id()),
            ],
            condition=(tables.ProjectItem.version == before.version) & (tables.ProjectItem.state == LIVE),
        )
        usage.adjust(transaction, before.project_id, [usage.any_shard(0, room)])

    return transact(write)


def adjust_usage(project: Project, adjustments: Sequence[Adjustment]) -> bool:
    """Correct the totals of a project that is still as it was read. False when one of them or the project is not."""

    def write(transaction: TransactWrite) -> None:
        transaction.condition_check(
            tables.ProjectItem, PROJECT, project.name, condition=tables.ProjectItem.version == project.version
        )
        usage.adjust(transaction, project.project_id, adjustments)

    return transact(write)


def _room(limit: int) -> int:
    """What a limit adds to the room that is left (chalicelib/projects/store/usage.py)."""
    return 0 if limit == UNLIMITED else limit


def set_immutable_rules(before: Project, rules: Sequence[Mapping[str, Any]]) -> bool:
    """Replace a project's immutable tag rules. False when it has changed since it was read, or is gone."""
    actions = [tables.ProjectItem.immutable_rules.set(list(rules)), tables.ProjectItem.version.set(new_id())]
    condition = (tables.ProjectItem.version == before.version) & (tables.ProjectItem.state == LIVE)
    return write_if(tables.ProjectItem(PROJECT, before.name).update, actions=actions, condition=condition)


def next_immutable_rule() -> int:
    """A number that no immutable tag rule had before."""
    return counters.project_number(IMMUTABLE_RULE)


def mark_deleting(project: Project) -> str | None:
    """Say that `project` is being deleted: from now on no repository is added. Returns the mark, None if it is gone.

    Each mark takes the place of the one before, whoever set it.
    """
    mark = new_id()
    return mark if _set_state(project, DELETING, mark, None) else None


def unmark_deleting(project: Project, mark: str) -> bool:
    """Let `project` live on. False when another took the mark over."""
    return _set_state(project, LIVE, new_id(), mark)


def delete(project: Project, mark: str, event: Event) -> bool:
    """Remove a project, read since it was marked with `mark`. False when another took the mark over."""

    def write(transaction: TransactWrite) -> None:
        transaction.delete(tables.ProjectItem(PROJECT, project.name), condition=tables.ProjectItem.version == mark)
        transaction.delete(tables.ProjectIdItem(PROJECT_ID, str(project.project_id)))
        directory.remove(transaction, project.name, public=project.public)
        if project.registry_id:
            _count_at_registry(transaction, project.registry_id, -1)
        audit.record(transaction, event)

    return transact(write)


def has_registry(registry_id: int) -> bool:
    """Whether there is an upstream registry with this number (chalicelib/upstreams/store.py)."""
    return reads.get_item(Key(settings().projects_table, REGISTRY, padded(registry_id)), ("version",)) is not None


def _count_at_registry(transaction: TransactWrite, registry_id: int, change: int) -> None:
    """Add to a transaction that one project more or less pulls through from an upstream registry, which must exist."""
    transaction.update(
        tables.EndpointItem(REGISTRY, padded(registry_id)),
        actions=[tables.EndpointItem.projects.add(change)],
        condition=tables.EndpointItem.pk.exists(),
    )


def has_repositories(name: str) -> bool:
    """Whether the catalog lists a repository of the project; strongly consistent."""
    items, _ = reads.query(settings().repositories_table, f"{CATALOG_PREFIX}{name}", "", limit=1)
    return bool(items)


def _set_state(project: Project, state: str, version: str, expected: str | None) -> bool:
    condition = tables.ProjectItem.project_id == project.project_id
    if expected is not None:
        condition &= tables.ProjectItem.version == expected
    actions = [tables.ProjectItem.state.set(state), tables.ProjectItem.version.set(version)]
    return write_if(tables.ProjectItem(PROJECT, project.name).update, actions=actions, condition=condition)


def _to_project(item: Item) -> Project:
    return Project(
        item["sk"],
        item["project_id"],
        item["public"],
        item["owner"],
        item.get("owner_number", ADMINISTRATOR),
        item["created"],
        item["updated"],
        item["version"],
        json.loads(item.get("metadata") or "{}"),
        item["repositories"],
        tuple(json.loads(item.get("immutable_rules") or "[]")),
        tuple(json.loads(item.get("webhook_events") or "[]")),
        item.get("storage_limit", UNLIMITED),
        item.get("registry_id", 0),
    )
