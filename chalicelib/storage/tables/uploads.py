"""The items of the Uploads table."""

from __future__ import annotations

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute

from chalicelib.settings import settings
from chalicelib.storage.tables.item import Item


class UploadItem(Item):
    """An upload session (chalicelib/registry/store/uploads.py). `expires` is the table's TTL attribute, in seconds."""

    class Meta:
        table_name = settings().uploads_table

    repository = UnicodeAttribute()
    version = UnicodeAttribute()
    offset = NumberAttribute()
    prefix_digest = UnicodeAttribute(null=True)
    object_key = UnicodeAttribute(null=True)
    multipart = UnicodeAttribute(null=True)
    parts = BinaryAttribute(null=True, legacy_encoding=False)
    next_part = NumberAttribute()
    tail_key = UnicodeAttribute(null=True)
    tail_size = NumberAttribute()
    digest = UnicodeAttribute(null=True)
    completed = NumberAttribute(null=True)
    expires = NumberAttribute()
    project_id = NumberAttribute(null=True)
