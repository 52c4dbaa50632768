"""Whether those that an upload address was given to may still use it: at most half a minute late.

A warm process remembers all of this. A cold one reads the account by its number: one call for a user, while its token
names the actions that were settled when it was issued.
"""

from __future__ import annotations

from chalicelib.access import accounts, memberships
from chalicelib.access.authentication import Owner, caller_of
from chalicelib.access.authorization import permitted
from chalicelib.oci.names import project_of
from chalicelib.projects import rules


def may_still_push(owner: Owner, repository: str, project_id: int, *, anew: bool = False) -> bool:
    """Whether `owner` may push to `repository`, in the project `project_id`.

    False when the account is gone, closed, another one or has another password, when it has lost the right, and when
    the project is gone, though another has its name. For what was given for long, as an upload address is, and names no
    actions of its own. `anew` reads a user or a robot and its roles again: two calls or three.
    """
    if anew:
        accounts.forget(owner.name)
    account = accounts.find_stamped(owner.name, owner.number, owner.stamp)
    project = rules.find_numbered(project_of(repository), project_id)
    if account is None or project is None:
        return False
    caller = caller_of(account)
    if anew:
        memberships.forget_roles(caller.entities, project)
    return "push" in permitted(caller, repository)
