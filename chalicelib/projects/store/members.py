"""The Accounts table: who has which role in which project."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import GROUP, padded
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

MEMBER_PREFIX = "member|"
MEMBERSHIP_PREFIX = "membership|"


@dataclass(frozen=True)
class Entity:
    """A user or a group (kind "user" or "group") by number."""

    kind: str
    number: int

    @property
    def key(self) -> str:
        return f"{self.kind}|{padded(self.number)}"


@dataclass(frozen=True)
class Member:
    """An entity's role in a project. `number` is the membership's own, unique among all projects'."""

    project_id: int
    entity: Entity
    name: str
    role: int
    number: int


def add(transaction: TransactWrite, member: Member) -> None:
    """Add the writes of a new membership to a transaction, which fails when there is one already."""
    item = tables.MemberItem(
        _partition(member.project_id), member.entity.key, number=member.number, name=member.name, role=member.role
    )
    transaction.save(item, condition=tables.MemberItem.pk.does_not_exist())
    transaction.save(_other_end(member.entity, member.project_id))


def create(member: Member, project_name: str, event: Event) -> bool:
    """Write a membership. False when the entity has a role there already, or the project or the group is gone."""

    def write(transaction: TransactWrite) -> None:
        add(transaction, member)
        project = tables.ProjectItem.project_id == member.project_id
        transaction.condition_check(tables.ProjectItem, "project", project_name, condition=project)
        if member.entity.kind == GROUP:
            group = padded(member.entity.number)
            transaction.condition_check(tables.GroupItem, GROUP, group, condition=tables.GroupItem.pk.exists())
        audit.record(transaction, event)

    return transact(write)


def set_role(member: Member, role: int, event: Event) -> bool:
    """Give a member another role. False when it is none any more."""

    def write(transaction: TransactWrite) -> None:
        item = tables.MemberItem(_partition(member.project_id), member.entity.key)
        condition = tables.MemberItem.number == member.number
        transaction.update(item, actions=[tables.MemberItem.role.set(role)], condition=condition)
        audit.record(transaction, event)

    return transact(write)


def rename(project_id: int, entity: Entity, name: str) -> None:
    """Show a member under another name, if it still is one."""
    item = tables.MemberItem(_partition(project_id), entity.key)
    write_if(item.update, actions=[tables.MemberItem.name.set(name)], condition=tables.MemberItem.pk.exists())


def delete(member: Member, event: Event | None = None) -> bool:
    """End a membership; `event` tells of it, unless its project or user goes too. False when it had ended already."""

    def write(transaction: TransactWrite) -> None:
        item = tables.MemberItem(_partition(member.project_id), member.entity.key)
        transaction.delete(item, condition=tables.MemberItem.number == member.number)
        transaction.delete(_other_end(member.entity, member.project_id))
        if event is not None:
            audit.record(transaction, event)

    return transact(write)


def read_all(project_id: int) -> list[Member]:
    """Every member of a project, by the membership's number."""
    items = reads.query_all(settings().accounts_table, _partition(project_id), "")
    return sorted((_to_member(item) for item in items), key=lambda member: member.number)


def read_roles(project_id: int, entities: Iterable[Entity]) -> frozenset[int]:
    """The roles that `entities` have in a project: one call."""
    keys = [Key(settings().accounts_table, _partition(project_id), entity.key) for entity in entities]
    return frozenset(int(item["role"]) for item in reads.get_items(keys, ("role",)).values())


def projects_of(entity: Entity) -> list[int]:
    """The projects in which `entity` has a role."""
    items = reads.query_all(settings().accounts_table, f"{MEMBERSHIP_PREFIX}{entity.key}", "", ("created",))
    return [int(item["sk"]) for item in items]


def read(project_id: int, entity: Entity) -> Member | None:
    item = reads.get_item(Key(settings().accounts_table, _partition(project_id), entity.key))
    return _to_member(item) if item else None


def _partition(project_id: int) -> str:
    return f"{MEMBER_PREFIX}{padded(project_id)}"


def _other_end(entity: Entity, project_id: int) -> tables.MembershipItem:
    return tables.MembershipItem(f"{MEMBERSHIP_PREFIX}{entity.key}", padded(project_id))


def _to_member(item: Item) -> Member:
    kind, _, number = item["sk"].partition("|")
    project_id = int(item["pk"].removeprefix(MEMBER_PREFIX))
    return Member(project_id, Entity(kind, int(number)), item["name"], item["role"], item["number"])
