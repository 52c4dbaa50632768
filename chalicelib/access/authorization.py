"""What a caller may do: the one decision that the protocol, the token service and the API share.

A project that a caller may not see is answered exactly as one that does not exist: no project, private
project and refused action all give the caller the same challenge.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from chalicelib.access import memberships, roles
from chalicelib.access.authentication import Caller, RepositoryGrant
from chalicelib.access.challenges import CATALOG_SCOPE, challenge, repository_scope
from chalicelib.access.roles import Permission, Permissions, Role
from chalicelib.access.store.robots import ALL_PROJECTS, SYSTEM, Grant, Robot
from chalicelib.http import Request
from chalicelib.oci.errors import Denied, NameUnknown, RegistryError, Unauthorized
from chalicelib.oci.names import project_of
from chalicelib.projects import rules
from chalicelib.projects.records import Project

ACTIONS = frozenset({"pull", "push", "delete"})
"""Of the protocol: what a token's scope can name."""

ANY_PROJECT = 0
"""In a token: the number where there was no project. Only the administrator, who may do all, is granted anything
there."""

_NONE: frozenset[str] = frozenset()
_NO_PERMISSIONS: Permissions = frozenset()
_BEYOND = 1 << 62


def permissions(caller: Caller, project: Project) -> Permissions:
    """All that `caller` may do in `project`. A token is for repositories and gives no more than anyone has."""
    if caller.grants is None and caller.is_admin:
        return roles.ALL
    allowed: Permissions = roles.OF_ANYONE if project.public else frozenset()
    if caller.robot is not None:
        return allowed | granted(caller.robot, "project", project.project_id)
    if caller.grants is None and not caller.is_anonymous:
        for role in memberships.roles_of(caller.entities, project):
            allowed |= roles.OF_ROLE[Role(role)]
    return allowed


def permissions_nowhere(caller: Caller, absent: str | int) -> Permissions:
    """The permissions in a project that is not there: none, for what those in a private one cost.

    `absent` is what the caller named. Whoever is refused a private project must not learn from the time that this takes
    that it exists.
    """
    if caller.is_admin:
        return _NO_PERMISSIONS
    # As far from the numbers of projects as 64 bits allow, and another for each name: roles are remembered by them.
    number = _BEYOND + zlib.crc32(str(absent).encode(errors="replace"))
    return permissions(caller, Project("", number, False, "", 0, 0, 0, "", {}, 0))


def permits_in_system(caller: Caller, permission: Permission) -> bool:
    """Whether `caller` may do what is outside of projects: the administrator all, a robot what it was given."""
    if caller.robot is not None:
        return permission in granted(caller.robot, "system", SYSTEM)
    return caller.is_admin


def granted(robot: Robot, kind: str, project_id: int) -> Permissions:
    """What `robot` was given outside of projects (kind `system`) or in a project, with ALL_PROJECTS in every one.

    As in Harbor (src/common/security/robot/context.go) a denial outweighs, and a robot that pushes to its own project
    pulls too.
    """
    grants = [grant for grant in robot.grants if grant.kind == kind]
    here = [grant for grant in grants if grant.project_id in (project_id, ALL_PROJECTS)]
    allowed = _with_effect("allow", here)
    if robot.project and Permission("repository", "push") in allowed:
        allowed |= {Permission("repository", "pull")}
    return allowed - _with_effect("deny", grants if project_id == ALL_PROJECTS else here)


def _with_effect(effect: str, grants: Iterable[Grant]) -> Permissions:
    return frozenset(
        Permission(access.resource, access.action)
        for grant in grants
        for access in grant.access
        if access.effect == effect
    )


def permitted(caller: Caller, repository: str) -> frozenset[str]:
    """The actions of the protocol that `caller` may do on `repository`.

    A token's were settled when it was issued, for the project that was there then; what anyone may pull, its holder may
    pull too. Its holder and the administrator may ask for a project that is not there; everyone else has no rights on
    it.
    """
    if caller.grants is None and caller.is_admin:
        return ACTIONS
    name = project_of(repository)
    project = _project(caller, repository)
    grant = _grant(caller, repository, project)
    granted = grant.actions if grant else _NONE
    if "pull" in granted:
        return granted
    if project is None:
        permissions_nowhere(caller, name)
        return granted
    allowed = permissions(caller, project)
    if not allowed:
        rules.find_to_refuse(name)
    return granted | {action for action in ACTIONS if Permission("repository", action) in allowed}


def _project(caller: Caller, repository: str) -> Project | None:
    """The project of `repository`, at most half a minute old, but as new as the one that the caller's token names."""
    name = project_of(repository)
    project = rules.find(name)
    grant = (caller.grants or {}).get(repository)
    if grant is not None and project is not None and grant.project_id > project.project_id:
        rules.forget(name)  # numbers only grow: what is remembered here is a project that is gone
        project = rules.find(name)
    return project


def _grant(caller: Caller, repository: str, project: Project | None) -> RepositoryGrant | None:
    """What the caller's token grants of `repository`, unless that was of a project that had the name before."""
    grants = caller.grants or {}
    grant = grants.get(repository)
    if grant is None and project is not None and project.is_proxy:
        # A request for a bare name of Docker Hub's is redirected into its library, with the token for the bare name.
        grant = grants.get(repository.replace("/library/", "/", 1))
    if grant is None or project is None or grant.project_id in (ANY_PROJECT, project.project_id):
        return grant
    return None


def may_sign(caller: Caller, repository: str) -> bool:
    """Whether `caller` may push to `repository`, perhaps by another token than this one."""
    grant = _grant(caller, repository, _project(caller, repository))
    return (grant is not None and grant.signs) or "push" in permitted(caller, repository)


def authorize(caller: Caller, action: str, repository: str, request: Request) -> frozenset[str]:
    """All that `caller` may do on `repository`, `action` ("pull", "push" or "delete") among it.

    Raises Unauthorized with the needed scope if logging in may give more, Denied for a user who is logged in,
    and NameUnknown when the project is missing, if the caller may know that.
    """
    if action != "pull" and not caller.is_anonymous and not _is_upload(request):
        # A write is never let in by what the name stood for a while ago: one read, of the project as it is now. An
        # upload is of the project that it began in, and asks when it ends.
        rules.forget(project_of(repository))
    actions = permitted(caller, repository)
    if action not in actions:
        raise _refusal(caller, request, repository_scope(repository, action))
    project = project_of(repository)
    if (caller.is_admin or action == "push") and rules.find(project) is None:
        raise NameUnknown(f"project {project} does not exist: create it first", detail={"name": repository})
    return actions


def _is_upload(request: Request) -> bool:
    return "/blobs/uploads/" in request.path


def authorize_catalog(caller: Caller, request: Request) -> None:
    """Return if `caller` may list all repositories. Raises Unauthorized or Denied."""
    if not (caller.sees_catalog or permits_in_system(caller, Permission("catalog", "read"))):
        raise _refusal(caller, request, CATALOG_SCOPE)


def require_authentication(caller: Caller, request: Request) -> None:
    """Return unless `caller` is nobody: `GET /v2/` is how a client finds where to log in. Raises Unauthorized."""
    if caller.is_anonymous and caller.grants is None:
        raise Unauthorized("authentication is required", headers=challenge(request))


def visible_projects(caller: Caller) -> list[Project]:
    """The projects that `caller` may know of, by name."""
    if caller.is_admin or caller.sees_catalog:
        return rules.list_all()
    own = own_ids(caller)
    found = rules.list_all()
    if ALL_PROJECTS in own:
        return found
    return [project for project in found if project.public or project.project_id in own]


def own_projects(caller: Caller) -> list[Project]:
    """The projects in which `caller` has a role, or a robot permissions; not those that are only public."""
    own = own_ids(caller)
    return rules.list_all() if ALL_PROJECTS in own else rules.list_each(own)


def own_ids(caller: Caller) -> frozenset[int]:
    """The numbers of the projects where `caller` has a role, ALL_PROJECTS among them for a robot of all."""
    return memberships.projects_of(caller.entities) if caller.number else _projects_of(caller.robot)


def _projects_of(robot: Robot | None) -> frozenset[int]:
    grants = robot.grants if robot is not None else ()
    return frozenset(grant.project_id for grant in grants if grant.kind == "project")


def _refusal(caller: Caller, request: Request, scope: str) -> RegistryError:
    if caller.grants is not None:
        return Unauthorized("the token lacks the scope", headers=challenge(request, scope, "insufficient_scope"))
    if caller.is_anonymous:
        return Unauthorized("authentication is required", headers=challenge(request, scope))
    return Denied("the requested access is denied")
