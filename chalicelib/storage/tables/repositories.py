"""The items of the Repositories table."""

from __future__ import annotations

from pynamodb.attributes import BinaryAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib.settings import settings
from chalicelib.storage.tables.item import Item


class ManifestItem(Item):
    class Meta:
        table_name = settings().repositories_table

    generation = UnicodeAttribute()
    """The commit that wrote this item; the edges of another generation are not its own."""
    state = UnicodeAttribute()
    version = UnicodeAttribute()
    media_type = UnicodeAttribute()
    size = NumberAttribute()
    content = BinaryAttribute(null=True, legacy_encoding=False)
    """The manifest's bytes; absent when they are too many and S3 keeps them."""
    subject = UnicodeAttribute(null=True)
    artifact_type = UnicodeAttribute(null=True)
    accessory_of = UnicodeAttribute(null=True)
    """The subject's digest; absent for what is no accessory."""
    accessory_kind = UnicodeAttribute(null=True)
    created = NumberAttribute()
    committed = NumberAttribute(null=True)
    """When it was pushed last; absent for what was pushed before this was written: then `created` stands for it."""
    candidate = UnicodeAttribute(null=True)
    candidate_since = NumberAttribute(null=True)


class TagItem(Item):
    class Meta:
        table_name = settings().repositories_table

    digest = UnicodeAttribute()
    media_type = UnicodeAttribute()
    updated = NumberAttribute()
    pulled = NumberAttribute(null=True)
    """When it was pulled last; only `tagged|` has it."""


class ReferrerItem(Item):
    class Meta:
        table_name = settings().repositories_table

    generation = UnicodeAttribute()
    descriptor = JSONAttribute()


class CatalogItem(Item):
    class Meta:
        table_name = settings().repositories_table

    manifests = NumberAttribute()
    accessories = NumberAttribute(null=True)
    """How many of the manifests are accessories."""
    pulls = NumberAttribute(null=True)
    description = UnicodeAttribute(null=True)
    created = NumberAttribute()
    updated = NumberAttribute()


class NameItem(Item):
    """Says only that there is such a repository."""

    class Meta:
        table_name = settings().repositories_table


class LabelledItem(Item):
    class Meta:
        table_name = settings().repositories_table

    number = NumberAttribute()


class ArtifactItem(Item):
    class Meta:
        table_name = settings().repositories_table

    summary = JSONAttribute()
    pulled = NumberAttribute(null=True)
    extra = JSONAttribute(null=True)
    """Harbor's extra attributes; absent until somebody asks."""
    kind = UnicodeAttribute(null=True)
    """An accessory's."""


class SignedItem(Item):
    """How many signatures an artifact has of each kind."""

    class Meta:
        table_name = settings().repositories_table

    cosign = NumberAttribute(null=True)
    notation = NumberAttribute(null=True)
