"""User groups: names that the login provider knows, to which projects give roles as to users.

The rules are Harbor's (src/controller/usergroup, src/pkg/usergroup). Who is in a group is not kept with it: a user's
record names the groups that the provider told of at the last login (chalicelib/access/oidc.py).
"""

from __future__ import annotations

from collections.abc import Collection

from chalicelib import retrying
from chalicelib.access import memberships
from chalicelib.access.errors import AlreadyExistsError, ChangedError, InvalidError, NotFoundError
from chalicelib.access.store import groups as table
from chalicelib.access.store.groups import Group
from chalicelib.projects.store import members as member_table
from chalicelib.projects.store.members import Entity

HTTP = 2
"""Of an authentication proxy. Berth has none, so nobody is in such a group; it can be made, as in Harbor."""
OIDC = 3

NAME_LENGTH = 255


def get(number: int) -> Group:
    """Raises NotFoundError."""
    group = table.read(number)
    if group is None:
        raise NotFoundError(f"the user group with id {number} is not found")
    return group


def find(number: int, name: str, kind: int) -> Group | None:
    """The group of this number or, when that is 0, of this name and type. Raises InvalidError."""
    if not number:
        _require_name(name)
        number = table.read_numbers(kind, [name]).get(name, 0)
    return table.read(number) if number else None


def list_all(name_part: str = "") -> list[Group]:
    """The groups whose names hold `name_part`, by number."""
    return [group for group in table.read_all() if name_part in group.name]


def create(name: str, kind: int) -> Group:
    """Make a group. Raises InvalidError or AlreadyExistsError."""
    _require_name(name)
    if kind not in (HTTP, OIDC):
        raise InvalidError("the type of a group is 2 (HTTP) or 3 (OIDC): Berth knows no LDAP")
    group = table.create(kind, name)
    if group is None:
        raise AlreadyExistsError(f"there is a user group {name} already")
    return group


def find_or_create(name: str, kind: int) -> Group:
    """The group of this name, made if there is none. Raises InvalidError."""
    _require_name(name)
    for _ in retrying.attempts(retrying.LOW):
        number = table.read_numbers(kind, [name]).get(name)
        group = table.read(number) if number is not None else table.create(kind, name)
        if group is not None:
            return group
    raise ChangedError(f"the user group {name} is being changed by others: try again")


def rename(number: int, name: str) -> None:
    """Raises InvalidError, NotFoundError, AlreadyExistsError, or ChangedError.

    Memberships show the name too. They follow after it: a rename that was killed half-way is done by another one.
    """
    _require_name(name)
    group = get(number)
    if name != group.name and not table.rename(group, name):
        if name in table.read_numbers(group.kind, [name]):
            raise AlreadyExistsError(f"there is a user group {name} already")
        raise ChangedError(f"the user group {number} is being changed by others: try again")
    entity = Entity("group", number)
    for project_id in member_table.projects_of(entity):
        member_table.rename(project_id, entity, name)


def delete(number: int) -> None:
    """Remove a group with all its roles; as in Harbor, one that is not there is removed. Raises ChangedError.

    Roles go first, so that a delete that was killed half-way can be done again, and once more after the group: one may
    have been given meanwhile, and from then on none can be.
    """
    entity = Entity("group", number)
    _remove_roles(entity)
    group = table.read(number)
    if group is not None and not table.delete(group):
        raise ChangedError(f"the user group {number} is being changed by others: try again")
    _remove_roles(entity)


def numbers_of(names: Collection[str]) -> tuple[int, ...]:
    """The numbers of the OIDC groups with these names, those made that there were not."""
    known = table.read_numbers(OIDC, names)
    for name in names:
        if name not in known:
            known[name] = find_or_create(name, OIDC).number
    return tuple(sorted(known.values()))


def _remove_roles(entity: Entity) -> None:
    for project_id in member_table.projects_of(entity):
        member = member_table.read(project_id, entity)
        if member is not None:
            member_table.delete(member)
            memberships.forget(project_id)


def _require_name(name: str) -> None:
    if not 1 <= len(name) <= NAME_LENGTH or not name.isprintable():
        raise InvalidError(f"the name of a user group has 1 to {NAME_LENGTH} printable characters")
