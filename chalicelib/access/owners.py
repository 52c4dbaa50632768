"""Whether those that a token or an upload address was given to may still use it: at most half a minute late.

A warm process remembers all of this. A cold one reads the account by its number: one call for a user, while its token
names the actions that were settled when it was issued.
"""

from __future__ import annotations

from chalicelib.access import accounts
from chalicelib.access.authentication import caller_of
from chalicelib.access.authorization import permitted
from chalicelib.projects import rules
from chalicelib.registry.names import project_of


def is_current(username: str, number: int, stamp: str) -> bool:
    """Whether the account is there, open, and has the password that it had under `stamp`."""
    account = accounts.find_numbered(username, number)
    return account is not None and account.stamp == stamp


def may_still_push(username: str, repository: str, project_id: int) -> bool:
    """Whether the account `username` may push to `repository`, in the project `project_id`.

    False when the account is gone or closed, when it has lost the right, and when the project is gone, though another
    has its name. For what was given for long, as an upload address is, and names no actions of its own.
    """
    account = accounts.find(username)
    if account is None:
        return False
    name = project_of(repository)
    project = rules.find(name)
    if project is not None and project.project_id < project_id:
        rules.forget(name)  # numbers only grow: what is remembered here is a project that is gone
        project = rules.find(name)
    if project is None or project.project_id != project_id:
        return False
    return "push" in permitted(caller_of(account), repository)
