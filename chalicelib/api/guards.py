"""Who may call an operation: the checks that handlers start with. The decisions are access/authorization.py's.

A caller that may not see a project gets what a missing one gets: Harbor's 401 if anonymous, else 403. Only who sees all
projects is told that one is missing.
"""

from __future__ import annotations

from urllib.parse import unquote

from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import permissions, permissions_nowhere, permits_in_system
from chalicelib.access.roles import Permission
from chalicelib.api import fields
from chalicelib.api.errors import ApiError, ForbiddenError, UnauthorizedError
from chalicelib.api.operations import Call
from chalicelib.http import Request
from chalicelib.oci import names
from chalicelib.projects import rules
from chalicelib.projects.errors import NotFoundError, RepositoryNotFoundError
from chalicelib.projects.records import Project


def require_project(call: Call, resource: str, action: str) -> Project:
    """The project that the path names, if the caller may do `action` on its `resource` (roles.Permission).

    The path's parameter is `project_name`, or `project_name_or_id`: a number, unless `X-Is-Resource-Name` says that
    it is a name. Raises UnauthorizedError, ForbiddenError or NotFoundError.
    """
    caller = call.caller
    try:
        project = _named(call)
    except NotFoundError:
        if caller.is_admin:
            raise
        permissions_nowhere(caller, call.parameters.get("project_name") or call.parameters["project_name_or_id"])
        raise refusal(caller) from None
    if Permission(resource, action) not in permissions(caller, project):
        raise refusal(caller)
    return project


def require_other_project(call: Call, name: str, *needed: Permission) -> Project:
    """The project `name`, which is not the path's, if the caller may do all that is `needed` there.

    Raises UnauthorizedError, ForbiddenError or NotFoundError, as `require_project` does.
    """
    try:
        project = rules.get(name)
    except NotFoundError:
        if call.caller.is_admin:
            raise
        permissions_nowhere(call.caller, name)
        raise refusal(call.caller) from None
    if not set(needed) <= permissions(call.caller, project):
        raise refusal(call.caller)
    return project


def require_in_project(caller: Caller, project: Project, resource: str, action: str) -> None:
    """Raises UnauthorizedError or ForbiddenError if the caller may not do `action` on the project's `resource`."""
    if Permission(resource, action) not in permissions(caller, project):
        raise refusal(caller)


def require_login(caller: Caller) -> None:
    """Raises UnauthorizedError for nobody, and ForbiddenError for who bears a token: that is for repositories only."""
    if not caller.number:
        raise refusal(caller)


def require_account(caller: Caller) -> None:
    """Raises UnauthorizedError or ForbiddenError if the caller is neither a user nor a robot."""
    if not caller.number and caller.robot is None:
        raise refusal(caller)


def require_admin(caller: Caller) -> None:
    """Raises UnauthorizedError or ForbiddenError if the caller is no system administrator."""
    if not caller.is_admin:
        raise refusal(caller)


def require_system(caller: Caller, resource: str, action: str) -> None:
    """Raises UnauthorizedError or ForbiddenError if the caller may not do `action` on `resource` of no project."""
    if not permits_in_system(caller, Permission(resource, action)):
        raise refusal(caller)


def refusal(caller: Caller) -> ApiError:
    return UnauthorizedError("unauthorized") if caller.is_anonymous else ForbiddenError("forbidden")


def repository_name(call: Call) -> str:
    """The repository that the path names, below its project, with slashes encoded twice or once.

    Raises RepositoryNotFoundError for what is no name of one.
    """
    name = f"{call.parameters['project_name']}/{unquote(call.parameters['repository_name'])}"
    if not names.is_repository(name):
        raise RepositoryNotFoundError("there is no such repository")
    return name


def flag(request: Request, header: str) -> bool:
    return fields.is_true(request.headers.get(header, ""))


def _named(call: Call) -> Project:
    name = call.parameters.get("project_name")
    if name is not None:
        return rules.get(name)
    text = call.parameters["project_name_or_id"]
    is_number = text.isascii() and text.isdigit() and len(text) < 16
    if is_number and not flag(call.request, "x-is-resource-name"):
        return rules.get_by_id(int(text))
    return rules.get(text)
