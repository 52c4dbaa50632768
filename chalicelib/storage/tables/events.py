"""The items of the Events table."""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib.settings import settings
from chalicelib.storage.tables.item import Item


class EntryItem(Item):
    """An entry of the audit log. Each is written twice, for the system's log and for its project's."""

    class Meta:
        table_name = settings().events_table

    operation = UnicodeAttribute()
    resource_type = UnicodeAttribute()
    resource = UnicodeAttribute()
    username = UnicodeAttribute()
    address = UnicodeAttribute()
    project_id = NumberAttribute()
    description = UnicodeAttribute()
    successful = BooleanAttribute()


class CountItem(Item):
    """How many entries of a partition are not younger than `through`, a sort key."""

    class Meta:
        table_name = settings().events_table

    through = UnicodeAttribute()
    entries = NumberAttribute()
    version = UnicodeAttribute()


class OutboxItem(Item):
    """An event that webhooks are still to be told of: its insertion starts the dispatch, which deletes it."""

    class Meta:
        table_name = settings().events_table

    topic = UnicodeAttribute()
    project_id = NumberAttribute()
    operator = UnicodeAttribute()
    detail = JSONAttribute()
