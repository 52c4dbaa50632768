"""What a caller may do: the one decision that the protocol, the token service and the API share.

A project that a caller may not see is answered exactly as one that does not exist: no project, private
project and refused action all give the caller the same challenge.
"""

from __future__ import annotations

from chalicelib.access.authentication import Caller
from chalicelib.access.challenges import CATALOG_SCOPE, challenge, repository_scope
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from chalicelib.registry.errors import Denied, NameUnknown, RegistryError, Unauthorized
from chalicelib.registry.http import Request
from chalicelib.registry.names import project_of

ACTIONS = frozenset({"pull", "push", "delete"})

_NONE: frozenset[str] = frozenset()
_PULL = frozenset({"pull"})


def permitted(caller: Caller, repository: str) -> frozenset[str]:
    """The actions that `caller` may do on `repository`.

    A token's were settled when it was issued; what anyone may pull, its holder may pull too. Its holder and
    the administrator may ask for a project that is not there; everyone else has no rights on it.
    """
    granted = _NONE if caller.grants is None else caller.grants.get(repository, _NONE)
    if "pull" in granted:
        return granted
    if caller.grants is None and caller.is_admin:
        return ACTIONS
    project = rules.find(project_of(repository))
    return granted | _PULL if project is not None and project.public else granted


def authorize(caller: Caller, action: str, repository: str, request: Request) -> frozenset[str]:
    """All that `caller` may do on `repository`, `action` ("pull", "push" or "delete") among it.

    Raises Unauthorized with the needed scope for who may get more by logging in, Denied for who is logged in,
    and NameUnknown when the project is missing, to who may know that.
    """
    actions = permitted(caller, repository)
    if action not in actions:
        raise _refusal(caller, request, repository_scope(repository, action))
    project = project_of(repository)
    if (caller.is_admin or action == "push") and rules.find(project) is None:
        raise NameUnknown(f"project {project} does not exist: create it first", detail={"name": repository})
    return actions


def authorize_catalog(caller: Caller, request: Request) -> None:
    """Return if `caller` may list all repositories. Raises Unauthorized or Denied."""
    if not (caller.is_admin or caller.sees_catalog):
        raise _refusal(caller, request, CATALOG_SCOPE)


def require_authentication(caller: Caller, request: Request) -> None:
    """Return unless `caller` is nobody: `GET /v2/` is how a client finds where to log in. Raises Unauthorized."""
    if caller.is_anonymous and caller.grants is None:
        raise Unauthorized("authentication is required", headers=challenge(request))


def may_see(caller: Caller, project: Project) -> bool:
    """Whether `caller` may know of `project`. A token is for repositories and shows no more than anyone may see."""
    return caller.is_admin or project.public


def visible_projects(caller: Caller) -> list[str]:
    """The names of the projects whose repositories the catalog shows to `caller`."""
    sees_all = caller.is_admin or caller.sees_catalog
    return [project.name for project in rules.list_all() if sees_all or project.public]


def _refusal(caller: Caller, request: Request, scope: str) -> RegistryError:
    if caller.grants is not None:
        return Unauthorized("the token lacks the scope", headers=challenge(request, scope, "insufficient_scope"))
    if caller.is_anonymous:
        return Unauthorized("authentication is required", headers=challenge(request, scope))
    return Denied("the requested access is denied")
