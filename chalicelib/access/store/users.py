"""The Accounts table: users, their names and their e-mail addresses, both unique."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from chalicelib import retrying
from chalicelib.access.store import user_counts
from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import new_id, now
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import padded
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

USER = "user"
USER_NAME = "user-name"
USER_FOLDED_NAME = "user-name-folded"
USER_EMAIL = "user-email"
USER_IDENTITY = "user-identity"


@dataclass(frozen=True)
class Identity:
    """Who a user is at the login provider. Times are milliseconds since 1970, `secret_hash` is empty without one."""

    issuer: str
    subject: str
    admin: bool
    """Whether the provider said at the last login that the user is a system administrator."""
    secret_hash: str = field(repr=False)
    """Of the secret that the user's command lines log in with."""
    created: int
    updated: int
    session_stamp: str = ""
    """Changes when an administrator ends the user's sessions, which no password here could end."""

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.issuer}\0{self.subject}".encode()).hexdigest()


@dataclass(frozen=True)
class User:
    """Times are milliseconds since 1970. `version` is fresh with every write of the record."""

    number: int
    username: str
    email: str
    realname: str
    comment: str
    password_hash: str = field(repr=False)
    admin: bool
    created: int
    updated: int
    version: str
    groups: tuple[int, ...] = ()
    """Numbers of the groups that the login provider told of last."""
    identity: Identity | None = None
    """Of who logs in by the provider, and has no password here."""


def folded(username: str) -> str:
    """What is the same of names that differ by case alone; a digest, since a folded name may be too long for a key."""
    return hashlib.sha256(unicodedata.normalize("NFKC", username).casefold().encode()).hexdigest()


def read(number: int) -> User | None:
    item = reads.get_item(Key(settings().accounts_table, USER, padded(number)))
    return _to_user(item) if item else None


def read_by_name(username: str) -> User | None:
    item = reads.get_item(Key(settings().accounts_table, USER_NAME, username))
    user = read(item["number"]) if item else None
    # A name changes hands only by a delete: a number that was read before it may be nobody's now.
    return user if user is not None and user.username == username else None


def read_by_identity(identity: Identity) -> User | None:
    """The user that the provider's subject is, whatever else `identity` says."""
    item = reads.get_item(Key(settings().accounts_table, USER_IDENTITY, identity.key))
    user = read(item["number"]) if item else None
    is_same = user is not None and user.identity is not None and user.identity.key == identity.key
    return user if is_same else None


def read_page(start: int, limit: int) -> list[User]:
    """The users with the indexes `start` up to `start + limit`, by number."""
    return [_to_user(item) for item in reads.query_page(settings().accounts_table, USER, "", start, limit)]


def read_each(numbers: Iterable[int]) -> list[User]:
    """The users with these numbers, in their order, but for those that are gone: one call for each hundred."""
    keys = [Key(settings().accounts_table, USER, padded(number)) for number in numbers]
    found = reads.get_items(keys)
    return [_to_user(found[key]) for key in keys if key in found]


def holding(kind: str, text: str) -> dict[int, str]:
    """The users whose name or e-mail address, as `kind` says, holds `text`: that by number, in the numbers' order.

    Reads all names, not their users: some fifteen thousand a call.
    """
    items = reads.query_all(settings().accounts_table, kind, "")
    return dict(sorted((item["number"], item["sk"]) for item in items if text in item["sk"]))


def count_all() -> int:
    """How many users there are, by counting them: one call a megabyte."""
    return reads.count_range(settings().accounts_table, USER, padded(0), "9" * len(padded(0)))


def has_users() -> bool:
    """Whether there is a user beside the administrator; strongly consistent."""
    items, _ = reads.query(settings().accounts_table, USER, "", limit=1)
    return bool(items)


def create(user: User, event: Event) -> bool:
    """Write a user, its name, its e-mail address and its identity, all or nothing. False when one of them is taken."""

    def write(transaction: TransactWrite) -> None:
        for kind, text in _unique(user):
            transaction.save(
                tables.NumberItem(kind, text, number=user.number), condition=tables.NumberItem.pk.does_not_exist()
            )
        transaction.save(_to_item(user), condition=tables.UserItem.pk.does_not_exist())
        user_counts.add(transaction, user.number, 1)
        audit.record(transaction, event)

    keys = [Key(settings().accounts_table, kind, text) for kind, text in _unique(user)]
    for _ in retrying.attempts(retrying.LOW):
        if transact(write):
            return True
        if reads.get_items(keys):
            return False
    return False


def replace(before: User, after: User, event: Event) -> bool:
    """Write `after` in place of `before`, which has the same number and name.

    False when the record has changed since it was read, or the new e-mail address is taken.
    """

    def write(transaction: TransactWrite) -> None:
        transaction.save(_to_item(after), condition=tables.UserItem.version == before.version)
        if after.email != before.email:
            address = tables.NumberItem(USER_EMAIL, after.email, number=after.number)
            transaction.save(address, condition=tables.NumberItem.pk.does_not_exist())
            if before.email:
                transaction.delete(tables.NumberItem(USER_EMAIL, before.email))
        audit.record(transaction, event)

    return transact(write)


def delete(user: User, event: Event) -> bool:
    """Remove a user, its name and its address. False when it has changed since it was read."""

    def write(transaction: TransactWrite) -> None:
        transaction.delete(_to_item(user), condition=tables.UserItem.version == user.version)
        for kind, text in _unique(user):
            transaction.delete(tables.NumberItem(kind, text))
        user_counts.add(transaction, user.number, -1)
        audit.record(transaction, event)

    return transact(write)


def _unique(user: User) -> list[tuple[str, str]]:
    """What no other user may have: kinds of NumberItems, and the texts."""
    unique = [(USER_NAME, user.username), (USER_FOLDED_NAME, folded(user.username)), (USER_EMAIL, user.email)]
    if user.identity is not None:
        unique.append((USER_IDENTITY, user.identity.key))
    return [(kind, text) for kind, text in unique if text]


def _to_item(user: User) -> tables.UserItem:
    return tables.UserItem(
        USER,
        padded(user.number),
        username=user.username,
        email=user.email,
        realname=user.realname,
        comment=user.comment,
        password_hash=user.password_hash,
        admin=user.admin,
        groups=list(user.groups) or None,
        identity=asdict(user.identity) if user.identity else None,
        version=new_id(),
        created=user.created,
        updated=now(),
    )


def _to_user(item: Item) -> User:
    return User(
        int(item["sk"]),
        item["username"],
        item["email"],
        item["realname"],
        item["comment"],
        item["password_hash"],
        item["admin"],
        item["created"],
        item["updated"],
        item["version"],
        tuple(json.loads(item.get("groups") or "[]")),
        Identity(**json.loads(item["identity"])) if item.get("identity") else None,
    )
