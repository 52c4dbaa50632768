"""Users that come from the login provider: found by their subject there, made at the first login, kept up to date.

The rules are Harbor's (src/core/controllers/oidc.go). Who a user is, is the provider's issuer and subject, never the
name or the e-mail address: those can be given to somebody else.
"""

from __future__ import annotations

from dataclasses import replace

from chalicelib import retrying
from chalicelib.access import accounts, groups, users
from chalicelib.access.accounts import Account
from chalicelib.access.errors import AlreadyExistsError, ChangedError
from chalicelib.access.oidc import Profile
from chalicelib.access.store import users as table
from chalicelib.access.store.users import Identity, User
from chalicelib.events.records import Actor
from chalicelib.storage.conditions import now

COMMENT = "Onboarded via OIDC provider"


def refresh(profile: Profile, address: str) -> Account | None:
    """The account of the user who has logged in from `address`, now in the groups that the provider names.

    None for a new user.
    """
    for _ in retrying.attempts(retrying.LOW):
        user = table.read_by_identity(_identity(profile))
        if user is None or user.identity is None:
            return None
        identity = replace(user.identity, admin=profile.admin, updated=now())
        changed = replace(user, groups=groups.numbers_of(profile.groups), identity=identity)
        if table.replace(user, changed, users.event("login", user.username, Actor(user.username, address))):
            accounts.forget(user.username)
            return accounts.of_user(changed)
    raise ChangedError(f"the user {profile.username} is being changed by others: try again")


def onboard(profile: Profile, username: str, address: str) -> Account:
    """Make the user for a first login. Raises InvalidError or AlreadyExistsError."""
    users.require_name(username)
    if not users.is_administrators(username) and users.find(username) is None:
        numbers, number, time = groups.numbers_of(profile.groups), users.next_number(), now()
        user = User(
            number,
            username,
            profile.email.lower(),
            username,
            COMMENT,
            "",
            False,
            time,
            time,
            "",
            groups=numbers,
            identity=_identity(profile),
        )
        if table.create(user, users.event("create", username, Actor(username, address))):
            accounts.forget(username)
            return accounts.of_user(user)
    raise AlreadyExistsError("Conflict, the user with same username or email has been onboarded.")


def suggested_name(profile: Profile) -> str:
    """The name that the provider knows the user by, as far as it can be one here."""
    return profile.username.replace(" ", "_")


def _identity(profile: Profile) -> Identity:
    time = now()
    return Identity(profile.issuer, profile.subject, profile.admin, "", time, time)
