"""The items of the Jobs table. `expires` is the table's TTL attribute, in seconds."""

from __future__ import annotations

from pynamodb.attributes import BinaryAttribute, BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib.settings import settings
from chalicelib.storage.tables.item import Item


class ExecutionItem(Item):
    """An execution (chalicelib/jobs/records.py)."""

    class Meta:
        table_name = settings().jobs_table

    status = UnicodeAttribute()
    message = UnicodeAttribute()
    trigger = UnicodeAttribute()
    operator = UnicodeAttribute()
    extra = JSONAttribute()
    exclusive = BooleanAttribute()
    started = NumberAttribute()
    ended = NumberAttribute()
    updated = NumberAttribute()
    expires = NumberAttribute()


class ExecutionNumberItem(Item):
    class Meta:
        table_name = settings().jobs_table

    vendor_type = UnicodeAttribute()
    vendor_id = NumberAttribute()
    expires = NumberAttribute()


class UnfinishedItem(Item):
    """There is one as long as the execution is not final."""

    class Meta:
        table_name = settings().jobs_table

    number = NumberAttribute()


class OccasionItem(Item):
    """What has started an execution: the same occasion starts none again."""

    class Meta:
        table_name = settings().jobs_table

    number = NumberAttribute()
    expires = NumberAttribute()


class TaskItem(Item):
    class Meta:
        table_name = settings().jobs_table

    status = UnicodeAttribute()
    message = UnicodeAttribute()
    run_count = NumberAttribute()
    extra = JSONAttribute()
    created = NumberAttribute()
    started = NumberAttribute()
    ended = NumberAttribute()
    updated = NumberAttribute()
    expires = NumberAttribute()


class LogItem(Item):
    class Meta:
        table_name = settings().jobs_table

    content = BinaryAttribute(legacy_encoding=False)
    """Compressed text."""
    expires = NumberAttribute()


class JobCounterItem(Item):
    class Meta:
        table_name = settings().jobs_table

    last = NumberAttribute()


class ScheduleItem(Item):
    """When a job starts by itself (chalicelib/jobs/store/schedules.py)."""

    class Meta:
        table_name = settings().jobs_table

    number = NumberAttribute()
    kind = UnicodeAttribute()
    cron = UnicodeAttribute()
    parameters = JSONAttribute()
    created = NumberAttribute()
    updated = NumberAttribute()
    version = UnicodeAttribute()


class PauseItem(Item):
    """There is one while jobs of this kind do not start by themselves."""

    class Meta:
        table_name = settings().jobs_table

    since = NumberAttribute()


class ReplyItem(Item):
    """What an upstream registry replied lately, and whose turn it is to ask (proxycache/store/replies.py)."""

    class Meta:
        table_name = settings().jobs_table

    version = UnicodeAttribute(null=True)
    reply = BinaryAttribute(null=True, legacy_encoding=False)
    """Compressed JSON."""
    fresh_until = NumberAttribute(null=True)
    turn = UnicodeAttribute(null=True)
    turn_until = NumberAttribute(null=True)
    expires = NumberAttribute()


class WaitingTagItem(Item):
    """A tag of a manifest that a proxy project does not hold yet."""

    class Meta:
        table_name = settings().jobs_table

    expires = NumberAttribute()


class PlaceItem(Item):
    """A connection to an upstream registry (chalicelib/proxycache/store/connections.py)."""

    class Meta:
        table_name = settings().jobs_table

    until = NumberAttribute()
    holder = UnicodeAttribute()
    expires = NumberAttribute()


class BandwidthItem(Item):
    """Until when the line to a project's upstream registry is booked (chalicelib/proxycache/store/bandwidth.py)."""

    class Meta:
        table_name = settings().jobs_table

    until = NumberAttribute()
    expires = NumberAttribute()


class FillRequestItem(Item):
    """A repository wants a blob of an upstream registry (chalicelib/proxycache/store/fills.py)."""

    class Meta:
        table_name = settings().jobs_table

    execution = UnicodeAttribute()
    until = NumberAttribute()
    failures = NumberAttribute()
    failure = JSONAttribute(null=True)
    expires = NumberAttribute()


class FillLeaseItem(Item):
    """Who fetches a blob of an upstream registry, until when, and the upload that it has come to."""

    class Meta:
        table_name = settings().jobs_table

    holder = UnicodeAttribute()
    until = NumberAttribute()
    repository = UnicodeAttribute(null=True)
    upload = UnicodeAttribute(null=True)
    expires = NumberAttribute()
