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


class DeliveryItem(Item):
    """The sending of one event to one target. `expires` is the table's TTL attribute, in seconds."""

    class Meta:
        table_name = settings().events_table

    project_id = NumberAttribute()
    event_id = UnicodeAttribute()
    topic = UnicodeAttribute()
    target = JSONAttribute()
    headers = JSONAttribute()
    body = UnicodeAttribute()
    status = UnicodeAttribute()
    attempts = NumberAttribute()
    lease = NumberAttribute()
    """Until when, in milliseconds, the attempt that runs keeps others off."""
    log = JSONAttribute()
    version = UnicodeAttribute()
    created = NumberAttribute()
    updated = NumberAttribute()
    expires = NumberAttribute()


class UndeliveredItem(Item):
    """Says only that a delivery has no final status yet."""

    class Meta:
        table_name = settings().events_table


class TriggerItem(Item):
    """When a policy was triggered last by an event."""

    class Meta:
        table_name = settings().events_table

    time = NumberAttribute()
