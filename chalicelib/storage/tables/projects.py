"""The items of the Projects table."""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib.settings import settings
from chalicelib.storage.tables.item import Item


class ProjectItem(Item):
    """A project; what its states mean stands in chalicelib/projects/rules.py."""

    class Meta:
        table_name = settings().projects_table

    project_id = NumberAttribute()
    public = BooleanAttribute()
    owner = UnicodeAttribute()
    owner_number = NumberAttribute(null=True)
    """Absent for what the administrator made before there were users."""
    metadata = JSONAttribute(null=True)
    immutable_rules = JSONAttribute(null=True)
    webhook_events = JSONAttribute(null=True)
    repositories = NumberAttribute()
    storage_limit = NumberAttribute(null=True)
    """Bytes, or -1 for no limit; absent for what was made before there were quotas."""
    registry_id = NumberAttribute(null=True)
    """The upstream registry of a proxy cache."""
    state = UnicodeAttribute()
    version = UnicodeAttribute()
    created = NumberAttribute()
    updated = NumberAttribute()


class ProjectIdItem(Item):
    class Meta:
        table_name = settings().projects_table

    name = UnicodeAttribute()


class ListedItem(Item):
    """Says only that there is such a project."""

    class Meta:
        table_name = settings().projects_table


class TotalsItem(Item):
    class Meta:
        table_name = settings().projects_table

    projects = NumberAttribute()
    repositories = NumberAttribute()


class ProjectCounterItem(Item):
    class Meta:
        table_name = settings().projects_table

    last = NumberAttribute()


class RetentionItem(Item):
    class Meta:
        table_name = settings().projects_table

    project_id = NumberAttribute()
    rules = JSONAttribute()
    cron = UnicodeAttribute()
    version = UnicodeAttribute()


class AllowlistItem(Item):
    """Vulnerabilities that are let pass (chalicelib/projects/store/allowlists.py)."""

    class Meta:
        table_name = settings().projects_table

    ids = JSONAttribute()
    ends = NumberAttribute(null=True)
    created = NumberAttribute()
    updated = NumberAttribute()


class LabelItem(Item):
    class Meta:
        table_name = settings().projects_table

    project_id = NumberAttribute()
    name = UnicodeAttribute()
    description = UnicodeAttribute()
    color = UnicodeAttribute()
    version = UnicodeAttribute()
    created = NumberAttribute()
    updated = NumberAttribute()


class LabelNameItem(Item):
    class Meta:
        table_name = settings().projects_table

    number = NumberAttribute()


class WebhookItem(Item):
    """A policy of webhooks (chalicelib/webhooks/store/policies.py)."""

    class Meta:
        table_name = settings().projects_table

    name = UnicodeAttribute()
    description = UnicodeAttribute()
    targets = JSONAttribute()
    event_types = JSONAttribute()
    enabled = BooleanAttribute()
    creator = UnicodeAttribute()
    created = NumberAttribute()
    updated = NumberAttribute()


class SubscriberItem(Item):
    """Says only that a policy of the project is told of an event of the whole registry."""

    class Meta:
        table_name = settings().projects_table


class EndpointItem(Item):
    """An upstream registry (chalicelib/upstreams/store.py)."""

    class Meta:
        table_name = settings().projects_table

    name = UnicodeAttribute()
    type = UnicodeAttribute()
    url = UnicodeAttribute()
    insecure = BooleanAttribute()
    description = UnicodeAttribute()
    ca_certificate = UnicodeAttribute()
    access_key = UnicodeAttribute()
    secret = UnicodeAttribute()
    status = UnicodeAttribute()
    projects = NumberAttribute()
    """How many projects pull through from it: changed with each of them, in its transaction."""
    version = UnicodeAttribute()
    created = NumberAttribute()
    updated = NumberAttribute()


class EndpointNameItem(Item):
    class Meta:
        table_name = settings().projects_table

    number = NumberAttribute()


class ChargeItem(Item):
    """That a blob or manifest counts in a project's usage (chalicelib/projects/store/usage.py)."""

    class Meta:
        table_name = settings().projects_table

    size = NumberAttribute()
    version = UnicodeAttribute()
    freeing = BooleanAttribute(null=True)
    uploaded = BooleanAttribute(null=True)


class TotalItem(Item):
    """A part of the sum of a project's charges. `changes` grows with every write."""

    class Meta:
        table_name = settings().projects_table

    used = NumberAttribute()
    room = NumberAttribute()
    unreferenced = NumberAttribute(null=True)
    changes = NumberAttribute()


class StoredItem(Item):
    """A part of the sum of all projects' charges."""

    class Meta:
        table_name = settings().projects_table

    used = NumberAttribute()


class RecountItem(Item):
    """How far a recount of usage has come, or what it found (chalicelib/artifacts/store.py)."""

    class Meta:
        table_name = settings().projects_table

    report = JSONAttribute()
    updated = NumberAttribute()


class TrafficItem(Item):
    """What pulls through a proxy project came to (chalicelib/proxycache/store/traffic.py)."""

    class Meta:
        table_name = settings().projects_table

    requests = NumberAttribute()
    hits = NumberAttribute()
    misses = NumberAttribute()
    upstream_requests = NumberAttribute()
    saved_bytes = NumberAttribute()
