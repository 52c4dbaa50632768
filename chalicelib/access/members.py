"""Members of projects: who has which role, given and taken. Rules: Harbor, src/controller/member/controller.go."""

from __future__ import annotations

from chalicelib.access import configuration, groups, memberships, users
from chalicelib.access.errors import AlreadyExistsError, InvalidError, NotFoundError
from chalicelib.access.roles import Role
from chalicelib.access.store.users import User
from chalicelib.events.records import JOBS, Actor, Event
from chalicelib.projects.records import Project
from chalicelib.projects.store import members as table
from chalicelib.projects.store.members import Entity, Member
from chalicelib.storage import counters


def list_all(project: Project, name_part: str = "") -> list[Member]:
    """The members of `project` whose names hold `name_part`, in the order in which they were added."""
    return [member for member in table.read_all(project.project_id) if name_part in member.name]


def get(project: Project, number: int) -> Member:
    """Raises NotFoundError."""
    for member in table.read_all(project.project_id):
        if member.number == number:
            return member
    raise NotFoundError(f"project {project.name} has no member {number}")


def add(project: Project, role: int, user: int = 0, username: str = "", actor: Actor = JOBS) -> Member:
    """Give a user, named by number or by name, a role.

    As in Harbor, a number that is nobody's is InvalidError, and a name NotFoundError. Raises these, or
    AlreadyExistsError.
    """
    role = _role(role)
    found = _user(user) if user else users.find(username)
    if found is None:
        raise NotFoundError(f"user {username} not found")
    return _add(project, role, Entity("user", found.number), found.username, actor)


def add_group(
    project: Project, role: int, number: int = 0, name: str = "", kind: int = groups.OIDC, actor: Actor = JOBS
) -> Member:
    """Give a group, named by number or by name and type, a role.

    While users log in by OIDC, a group of the provider need not be known yet. Raises InvalidError,
    AlreadyExistsError or ChangedError.
    """
    role = _role(role)
    found = groups.find(number, name, kind)
    if found is None and name and kind == groups.OIDC and configuration.current().auth_mode == configuration.OIDC_AUTH:
        found = groups.find_or_create(name, kind)
    if found is None:
        raise InvalidError(f"group {name or number} not found")
    return _add(project, role, Entity("group", found.number), found.name, actor)


def _add(project: Project, role: int, entity: Entity, name: str, actor: Actor) -> Member:
    number = counters.account_number("member")
    member = Member(project.project_id, entity, name, role, number)
    if not table.create(member, project.name, _event("create", project, member, actor)):
        raise AlreadyExistsError(f"{name} is a member of {project.name} already")
    _forget(member)
    return member


def set_role(project: Project, number: int, role: int, actor: Actor = JOBS) -> None:
    """Raises InvalidError or NotFoundError."""
    role = _role(role)
    member = get(project, number)
    if not table.set_role(member, role, _event("update", project, member, actor)):
        raise NotFoundError(f"project {project.name} has no member {number}")
    _forget(member)


def remove(project: Project, number: int, actor: Actor = JOBS) -> None:
    """Raises NotFoundError."""
    member = get(project, number)
    if not table.delete(member, _event("delete", project, member, actor)):
        raise NotFoundError(f"project {project.name} has no member {number}")
    _forget(member)


def _user(number: int) -> User:
    try:
        return users.get(number)
    except NotFoundError as error:
        raise InvalidError(str(error)) from error


def _event(operation: str, project: Project, member: Member, actor: Actor) -> Event:
    description = f"{operation} member: {member.name} of {project.name}"
    return Event(operation, "member", member.name, actor, project_id=project.project_id, description=description)


def _role(number: int) -> int:
    try:
        return int(Role(number))
    except ValueError as error:
        raise InvalidError(f"there is no role {number}") from error


def _forget(member: Member) -> None:
    memberships.forget(member.project_id)
