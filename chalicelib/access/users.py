"""Users: accounts with a name, a profile and a password of their own.

The rules are Harbor's (src/server/v2.0/handler/user.go). The administrator, number 1, is an account of the deployment
(accounts.py): it is listed here, but its name and password are set by a deploy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from chalicelib import retrying
from chalicelib.access import accounts, passwords
from chalicelib.access.errors import AlreadyExistsError, InvalidError, NotAllowedError, NotFoundError
from chalicelib.access.store import user_counts
from chalicelib.access.store import users as table
from chalicelib.access.store.users import User
from chalicelib.events.records import JOBS, Actor, Event
from chalicelib.projects.store import members as member_table
from chalicelib.projects.store.members import Entity
from chalicelib.storage import counters
from chalicelib.storage.conditions import new_id, now
from chalicelib.storage.tables.keys import ADMINISTRATOR

_ANONYMOUS = 2
"""Harbor's number for nobody; users' are above it."""

_ILLEGAL_IN_NAME = re.compile(r"[,~#$%\x00-\x20\x7f|:]")
_ILLEGAL_IN_REALNAME = re.compile(r"[,~#$%\x00-\x1f\x7f]")
_EMAIL = re.compile(r"[^<>()\[\]\\.,;:\s@\"]+(?:\.[^<>()\[\]\\.,;:\s@\"]+)*@(?:[a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}\Z")
_PASSWORD_LENGTHS = range(8, 129)


def get(number: int) -> User:
    """Raises NotFoundError."""
    user = _administrator() if number == ADMINISTRATOR else table.read(number)
    if user is None:
        raise NotFoundError(f"user {number} not found")
    return user


def find(username: str) -> User | None:
    administrator = _administrator()
    return administrator if username == administrator.username else table.read_by_name(username)


def is_administrators(username: str) -> bool:
    """Whether the name is the administrator's, or could be taken for it: `Admin` beside `admin`."""
    return table.folded(username) == table.folded(_administrator().username)


def count() -> int:
    """How many there are, the administrator among them."""
    return 1 + user_counts.total()


def page(start: int, size: int) -> list[User]:
    """The users with the indexes `start` up to `start + size`, by number."""
    if start:
        return table.read_page(start - 1, size)
    return [_administrator(), *(table.read_page(0, size - 1) if size > 1 else ())]


def named(text: str) -> dict[int, str]:
    """The names that hold `text`, by the users' numbers, in the numbers' order."""
    administrator = _administrator()
    own = {ADMINISTRATOR: administrator.username} if text in administrator.username else {}
    return own | table.holding(table.USER_NAME, text)


def matching(name_part: str, email_part: str) -> list[int]:
    """The numbers of the users whose names and e-mail addresses hold these, in order."""
    found = list(named(name_part))
    if not email_part:
        return found
    addresses = table.holding(table.USER_EMAIL, email_part)
    return [number for number in found if number in addresses]


def read_each(numbers: Sequence[int]) -> list[User]:
    """The users with these numbers, in their order, but for those that are gone."""
    own = [_administrator()] if ADMINISTRATOR in numbers else []
    return own + table.read_each(number for number in numbers if number != ADMINISTRATOR)


def create(username: str, password: str, email: str, realname: str, comment: str, actor: Actor = JOBS) -> User:
    """Make a user. Raises InvalidError or AlreadyExistsError."""
    require_name(username)
    _require_profile(email, realname, comment)
    _require_password(password)
    if not is_administrators(username) and find(username) is None:
        number, time = next_number(), now()
        digest = passwords.hash_password(password)
        user = User(number, username, email.lower(), realname, comment, digest, False, time, time, "")
        if table.create(user, event("create", username, actor)):
            accounts.forget(username)
            return user
    raise AlreadyExistsError(f"the user name {username} or its e-mail address is taken")


def next_number() -> int:
    """A number that no user had before."""
    return counters.account_number("user", _ANONYMOUS)


def set_cli_secret(number: int, secret: str, actor: Actor = JOBS, *, ends_sessions: bool = False) -> str:
    """Give a user who logs in by OIDC a secret for command lines, generated if `secret` is empty, and return it.

    Only its hash is kept. `ends_sessions` ends the user's sessions in the console too. Raises InvalidError for a weak
    one, NotFoundError, or NotAllowedError for a user who has a password.
    """
    secret = secret or passwords.generate()
    _require_password(secret)

    def change(user: User) -> User:
        if user.identity is None:
            raise NotAllowedError(f"user {user.username} does not log in by OIDC")
        identity = replace(user.identity, secret_hash=passwords.hash_password(secret), updated=now())
        if ends_sessions:
            identity = replace(identity, session_stamp=new_id())
        return replace(user, identity=identity)

    _change(number, change, actor)
    return secret


def update_profile(number: int, email: str, realname: str, comment: str, actor: Actor = JOBS) -> None:
    """Raises InvalidError, AlreadyExistsError when the address is another's, or NotFoundError."""
    _require_profile(email, realname, comment)
    _change(number, lambda user: replace(user, email=email.lower(), realname=realname, comment=comment), actor)


def set_administrator(number: int, admin: bool, actor: Actor = JOBS) -> None:
    """Make a user a system administrator, or no longer one. Raises NotFoundError."""
    _change(number, lambda user: replace(user, admin=admin), actor)


def set_password(number: int, password: str, actor: Actor = JOBS) -> None:
    """Raises InvalidError for a weak password or the present one, or NotFoundError."""
    _require_password(password)

    def change(user: User) -> User:
        if user.identity is not None:
            raise NotAllowedError("the password is the login provider's")
        if passwords.verify_password(password, user.password_hash):
            raise InvalidError("New password is identical to old password")
        return replace(user, password_hash=passwords.hash_password(password))

    _change(number, change, actor)


def delete(number: int, actor: Actor = JOBS) -> None:
    """Remove a user and its roles. Raises NotFoundError."""
    _require_own(number)
    for _ in retrying.attempts(retrying.LOW):
        user = get(number)
        entity = Entity("user", number)
        for project_id in member_table.projects_of(entity):
            member = member_table.read(project_id, entity)
            if member is not None:
                member_table.delete(member)
        if table.delete(user, event("delete", user.username, actor)):
            accounts.forget(user.username)
            return
    raise AlreadyExistsError(f"user {number} is being changed by others")


def _change(number: int, change: Callable[[User], User], actor: Actor) -> None:
    _require_own(number)
    for _ in retrying.attempts(retrying.LOW):
        user = get(number)
        changed = change(user)
        if table.replace(user, changed, event("update", user.username, actor)):
            accounts.forget(user.username)
            return
    raise AlreadyExistsError("the e-mail address is taken, or the user is being changed by others")


def event(operation: str, username: str, actor: Actor) -> Event:
    """What the audit log is told of something that is done with a user."""
    return Event(operation, "user", username, actor, description=f"{operation} user: {username}")


def _require_own(number: int) -> None:
    if number == ADMINISTRATOR:
        raise NotAllowedError("the administrator's account is set by the deployment")


def _administrator() -> User:
    account = accounts.administrator()
    name = account.username if account else "admin"
    return User(ADMINISTRATOR, name, "", "system admin", "admin user", "", True, 0, 0, "")


def require_name(username: str) -> None:
    """Raises InvalidError for what cannot be a user's name."""
    if not 1 <= len(username) <= accounts.NAME_LENGTH or _ILLEGAL_IN_NAME.search(username):
        raise InvalidError("a user name has 1 to 255 characters, no white space and none of , ~ # $ % | :")


def _require_profile(email: str, realname: str, comment: str) -> None:
    if len(email) > 255 or not _EMAIL.match(email):
        raise InvalidError("email with illegal format")
    if not 1 <= len(realname) <= 255 or _ILLEGAL_IN_REALNAME.search(realname):
        raise InvalidError("realname has 1 to 255 characters, and none of , ~ # $ %")
    if len(comment) > 30:
        raise InvalidError("comment with illegal length")


def _require_password(password: str) -> None:
    kinds = (str.islower, str.isupper, str.isdigit)
    if len(password) not in _PASSWORD_LENGTHS or not all(any(map(kind, password)) for kind in kinds):
        raise InvalidError(
            "the password has 8 to 128 characters, with at least one upper-case letter, one lower-case letter and "
            "one digit"
        )
