"""The items of the Blobs table."""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute

from chalicelib.settings import settings
from chalicelib.storage.tables.item import Item


class BlobItem(Item):
    class Meta:
        table_name = settings().blobs_table

    object_key = UnicodeAttribute()
    size = NumberAttribute()
    state = UnicodeAttribute()
    version = UnicodeAttribute()
    created = NumberAttribute()
    candidate = UnicodeAttribute(null=True)
    candidate_since = NumberAttribute(null=True)


class LinkItem(Item):
    class Meta:
        table_name = settings().blobs_table

    object_key = UnicodeAttribute()
    state = UnicodeAttribute()
    version = UnicodeAttribute()
    uploaded = BooleanAttribute(null=True)


class EdgeItem(Item):
    class Meta:
        table_name = settings().blobs_table

    created = NumberAttribute()
