"""The items of the Accounts table."""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib.settings import settings
from chalicelib.storage.tables.item import Item


class UserItem(Item):
    """An account that logs in with a password of its own."""

    class Meta:
        table_name = settings().accounts_table

    username = UnicodeAttribute()
    email = UnicodeAttribute()
    realname = UnicodeAttribute()
    comment = UnicodeAttribute()
    password_hash = UnicodeAttribute()
    admin = BooleanAttribute()
    groups = JSONAttribute(null=True)
    """Numbers of the groups that the login provider told of last; absent for who logs in with a password alone."""
    identity = JSONAttribute(null=True)
    """Who the user is at the login provider (chalicelib/access/store/users.py); absent as above."""
    version = UnicodeAttribute()
    created = NumberAttribute()
    updated = NumberAttribute()


class UserCountItem(Item):
    """A part of the number of users. `changes` grows with every write."""

    class Meta:
        table_name = settings().accounts_table

    users = NumberAttribute()
    changes = NumberAttribute()
    complete = BooleanAttribute(null=True)
    """Of the first part: users of before they were counted are."""


class GroupItem(Item):
    class Meta:
        table_name = settings().accounts_table

    name = UnicodeAttribute()
    kind = NumberAttribute()
    version = UnicodeAttribute()


class NumberItem(Item):
    """Which number a name stands for; there is one at most, which makes the name unique."""

    class Meta:
        table_name = settings().accounts_table

    number = NumberAttribute()


class MemberItem(Item):
    class Meta:
        table_name = settings().accounts_table

    number = NumberAttribute()
    """Of the membership, as the API names it."""
    name = UnicodeAttribute()
    role = NumberAttribute()


class MembershipItem(Item):
    """Says only that there is a MemberItem, which tells the role."""

    class Meta:
        table_name = settings().accounts_table


class RobotItem(Item):
    """A robot account (chalicelib/access/store/robots.py)."""

    class Meta:
        table_name = settings().accounts_table

    number = NumberAttribute()
    project = UnicodeAttribute()
    description = UnicodeAttribute()
    secret_hash = UnicodeAttribute()
    duration = NumberAttribute()
    expires_at = NumberAttribute()
    """In seconds, or -1. Not the table's TTL attribute: a robot that has expired stays, and can be given more time."""
    disabled = BooleanAttribute()
    grants = JSONAttribute()
    creator_type = UnicodeAttribute()
    creator_number = NumberAttribute()
    version = UnicodeAttribute()
    created = NumberAttribute()
    updated = NumberAttribute()


class RobotNumberItem(Item):
    class Meta:
        table_name = settings().accounts_table

    project_id = NumberAttribute()
    name = UnicodeAttribute()


class FailuresItem(Item):
    """`expires` is the table's TTL attribute, in seconds."""

    class Meta:
        table_name = settings().accounts_table

    failed = NumberAttribute()
    last = NumberAttribute()
    expires = NumberAttribute()


class ConfigurationItem(Item):
    """What an administrator has set of the system's configuration (chalicelib/access/configuration.py)."""

    class Meta:
        table_name = settings().accounts_table

    values = JSONAttribute()
    version = UnicodeAttribute()


class SessionItem(Item):
    """What a browser is remembered by (access/store/sessions.py). `expires` is the table's TTL, in seconds."""

    class Meta:
        table_name = settings().accounts_table

    content = JSONAttribute()
    expires = NumberAttribute()


class AccountCounterItem(Item):
    class Meta:
        table_name = settings().accounts_table

    last = NumberAttribute()
