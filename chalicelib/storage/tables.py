"""The DynamoDB tables: their names, keys and attributes. infra/resources.py deploys what is written here.

All keys are strings, named `pk` and `sk`. `|` separates the parts of a key: no name, tag, digest or media type
holds one. The protocol that these items serve is docs/gc.md.

Blobs: what a digest points at and who refers to it. One partition a digest, so that a collector learns all with one
consistent query.

    pk                     sk                                       item
    <digest>               blob                                     BlobItem: object key, size, state
    <digest>               link|<repository>                        LinkItem: the repository may serve the blob
    <digest>               edge|<repository>|<manifest>|<generation>    EdgeItem: a manifest names the blob
    <repository>@<digest>  edge|<repository>|<manifest>|<generation>    EdgeItem: an index names the manifest

Repositories: what a repository holds. One partition a repository.

    <repository>           manifest|<digest>                        ManifestItem: media type, bytes, generation
    <repository>           tag|<tag>                                TagItem: the tag's digest
    <repository>           tagged|<digest>|<tag>                    TagItem read from the other end
    <repository>           referrer|<subject>|<artifact type>|<digest>  ReferrerItem: a descriptor
    <repository>           artifact|<time>|<digest>                 ArtifactItem: what lists show of a manifest
    <repository>           label|<digest>|<label's number>          LabelledItem: the artifact carries the label
    labelled|<label's number>   <repository>|<digest>               LabelledItem read from the other end
    catalog|<project>      <repository>                             CatalogItem: the repository, its manifests counted

Uploads: sessions, dropped by TTL. Projects: who owns what. Accounts: who is who, and which role they have where.

    <upload id>            upload                                   UploadItem
    project                <name>                                   ProjectItem
    project-id             <number>                                 ProjectIdItem: the project's name
    label                  <number>                                 LabelItem
    label-name|<project's number>   <name>                          LabelNameItem: the label's number; 0 is all projects
    counter                project, label, immutable-rule           CounterItem: the last number given out

    user                   <number>                                 UserItem
    user-name              <user name>                              NumberItem: the user's number
    user-email             <e-mail address, lower case>             NumberItem: the user's number
    member|<project's number>   user|<number>                       MemberItem: the role in a project
    membership|user|<number>    <project's number>                  MembershipItem: MemberItem from the other end
    robot|<project's number>    <name>                              RobotItem; 0 is the system's
    robot-number           <number>                                 RobotNumberItem: the robot's project and name
    failures               name|<name>, address|<address>           FailuresItem: failed logins, dropped by TTL
    counter                user, member, robot                      CounterItem: the last number given out

Numbers in sort keys are padded with zeros to ten digits, so that their order is the numbers'.

The sparse index `candidates` of Blobs and of Repositories holds only what may be garbage: its hash key `candidate` is
`<shard>` (0..15, by digest), its range key `candidate_since` is in milliseconds since 1970.

Every write of a blob, a link or a manifest gives it a fresh `version` (random, never reused), and every conditional
write names the version that it read, so that no decision is carried out on an item that has changed since.
"""

from __future__ import annotations

import threading

from pynamodb.attributes import (
    BinaryAttribute,
    BooleanAttribute,
    JSONAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.connection import Connection, TableConnection
from pynamodb.models import Model

from chalicelib.settings import settings

CANDIDATE_SHARDS = 16
MANIFEST_PREFIX = "manifest|"
"""Of a manifest's sort key."""


_connection = Connection(
    connect_timeout_seconds=2, read_timeout_seconds=5, max_retry_attempts=6, max_pool_connections=32
)
_connecting = threading.Lock()


def connection() -> Connection:
    """The one connection of the process, its botocore client made."""
    with _connecting:
        _connection.client  # noqa: B018 -- the property makes the client, which is not safe in two threads at once
    return _connection


class Item(Model):
    """The keys that every item has."""

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)

    @classmethod
    def _get_connection(cls) -> TableConnection:
        """Share one botocore client: PynamoDB would make one a model, at 200 ms each."""
        own = super()._get_connection()
        own.connection._client = connection().client
        return own


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


class EdgeItem(Item):
    class Meta:
        table_name = settings().blobs_table

    created = NumberAttribute()


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
    created = NumberAttribute()
    candidate = UnicodeAttribute(null=True)
    candidate_since = NumberAttribute(null=True)


class TagItem(Item):
    class Meta:
        table_name = settings().repositories_table

    digest = UnicodeAttribute()
    media_type = UnicodeAttribute()
    updated = NumberAttribute()


class ReferrerItem(Item):
    class Meta:
        table_name = settings().repositories_table

    generation = UnicodeAttribute()
    descriptor = JSONAttribute()


class CatalogItem(Item):
    class Meta:
        table_name = settings().repositories_table

    manifests = NumberAttribute()
    description = UnicodeAttribute(null=True)
    created = NumberAttribute()
    updated = NumberAttribute()


class LabelledItem(Item):
    class Meta:
        table_name = settings().repositories_table

    number = NumberAttribute()


class ArtifactItem(Item):
    class Meta:
        table_name = settings().repositories_table

    summary = JSONAttribute()


class UploadItem(Item):
    """An upload session (chalicelib/storage/uploads.py). `expires` is the table's TTL attribute, in seconds."""

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
    repositories = NumberAttribute()
    state = UnicodeAttribute()
    version = UnicodeAttribute()
    created = NumberAttribute()
    updated = NumberAttribute()


class ProjectIdItem(Item):
    class Meta:
        table_name = settings().projects_table

    name = UnicodeAttribute()


class ProjectCounterItem(Item):
    class Meta:
        table_name = settings().projects_table

    last = NumberAttribute()


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
    version = UnicodeAttribute()
    created = NumberAttribute()
    updated = NumberAttribute()


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
    """A robot account (chalicelib/storage/robots.py)."""

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


class AccountCounterItem(Item):
    class Meta:
        table_name = settings().accounts_table

    last = NumberAttribute()
