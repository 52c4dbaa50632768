"""The Repositories table: manifests, tags, referrers and the catalog of a project's repositories."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.oci.accessories import Accessory
from chalicelib.projects.store import usage
from chalicelib.projects.store.usage import Adjustment
from chalicelib.registry.store import artifacts, blobs, repositories
from chalicelib.registry.store.artifacts import Artifact
from chalicelib.registry.store.blobs import LIVE
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import new_id, now, write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import MANIFEST_PREFIX, shard
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

TAG_PREFIX = "tag|"
TAGGED_PREFIX = "tagged|"
REFERRER_PREFIX = "referrer|"

_RECORD = (
    *("generation", "version", "state", "media_type", "size", "created", "candidate_since", "committed"),
    *("accessory_of", "accessory_kind"),
)
"""What a decision about a manifest needs; its bytes stay behind."""


@dataclass(frozen=True)
class Record:
    """A stored manifest without its bytes. `candidate_since` is set when it may be garbage."""

    repository: str
    digest: str
    media_type: str
    size: int
    generation: str
    version: str
    state: str
    created: int
    """When the digest was first pushed to the repository."""
    candidate_since: int | None
    committed: int
    """When it was pushed last."""
    accessory: Accessory | None = None
    """What it is about, if it is an accessory."""


@dataclass(frozen=True)
class Stored:
    """A manifest as it is served. `content` is None when S3 holds it, under object_key(generation)."""

    media_type: str
    content: bytes | None
    generation: str


@dataclass(frozen=True)
class Tag:
    name: str
    digest: str
    media_type: str


@dataclass(frozen=True)
class Commit:
    """A manifest to write, with what was read before: the write holds only if that still stands."""

    repository: str
    digest: str
    generation: str
    media_type: str
    size: int
    content: bytes | None
    """The bytes to keep in the item; None when S3 has them, under object_key(generation)."""
    subject: str | None
    artifact_type: str | None
    descriptor: dict[str, Any]
    summary: dict[str, Any]
    accessory: Accessory | None
    replaces: Record | None
    tags: Sequence[str]
    tags_before: Mapping[str, Tag]
    """Those of `tags` that are there, by name."""
    repository_known: bool
    project_id: int
    charges: Mapping[str, int]
    """The digests to charge the project for, with their sizes."""
    adjustments: Sequence[Adjustment]
    """What the charges change in the project's totals."""
    uploaded: Collection[str]
    """Those of the charges whose bytes uploads brought: unreferenced until now."""
    public: bool
    """Whether the project is: what a new repository is counted by."""
    events: Sequence[Event]
    warning: Event | None = None
    """That the project's limit is near, if webhooks are to be told."""


def manifest_key(repository: str, digest: str) -> Key:
    return Key(settings().repositories_table, repository, f"{MANIFEST_PREFIX}{digest}")


def tag_key(repository: str, tag: str) -> Key:
    return Key(settings().repositories_table, repository, f"{TAG_PREFIX}{tag}")


def object_key(generation: str) -> str:
    """Where S3 keeps the bytes of a manifest that is too large for its item."""
    return f"manifests/{generation}"


def to_record(item: Item) -> Record:
    return Record(
        item["pk"],
        item["sk"].removeprefix(MANIFEST_PREFIX),
        item["media_type"],
        item["size"],
        item["generation"],
        item["version"],
        item["state"],
        item["created"],
        item.get("candidate_since"),
        item.get("committed") or item["created"],
        accessory_in(item),
    )


def to_tag(item: Item) -> Tag:
    return Tag(item["sk"].removeprefix(TAG_PREFIX), item["digest"], item["media_type"])


def read_tag(repository: str, tag: str) -> Tag | None:
    item = reads.get_item(tag_key(repository, tag), ("digest", "media_type"))
    return to_tag(item) if item else None


def read_media_type(repository: str, digest: str) -> str | None:
    """The media type of a manifest that exists, for one whose bytes are at hand already."""
    item = reads.get_item(manifest_key(repository, digest), ("media_type",))
    return item["media_type"] if item else None


def read_record(repository: str, digest: str) -> Record | None:
    item = reads.get_item(manifest_key(repository, digest), _RECORD)
    return to_record(item) if item else None


def read_records(repository: str, digests: Sequence[str]) -> dict[str, Record]:
    """The records that exist, by digest."""
    keys = [manifest_key(repository, digest) for digest in digests]
    records = [to_record(item) for item in reads.get_items(keys, _RECORD).values()]
    return {record.digest: record for record in records}


def read_generations(manifests: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The generation of each manifest that exists, by repository and digest."""
    keys = [manifest_key(repository, digest) for repository, digest in manifests]
    found = reads.get_items(keys, ("generation",))
    return {(key.pk, key.sk.removeprefix(MANIFEST_PREFIX)): item["generation"] for key, item in found.items()}


def read_stored(repository: str, digest: str) -> Stored | None:
    item = reads.get_item(manifest_key(repository, digest), ("media_type", "content", "generation"))
    return Stored(item["media_type"], item.get("content"), item["generation"]) if item else None


def read_page(repository: str, after: str, limit: int) -> tuple[dict[str, Stored], str]:
    """Up to `limit` manifests of a repository by digest, and the sort key to go on behind, empty at the end."""
    attributes = ("media_type", "content", "generation")
    table = settings().repositories_table
    items, last = reads.query(table, repository, MANIFEST_PREFIX, after=after, limit=limit, attributes=attributes)
    return {
        item["sk"].removeprefix(MANIFEST_PREFIX): Stored(item["media_type"], item.get("content"), item["generation"])
        for item in items
    }, last


def accessory_in(item: Item) -> Accessory | None:
    """What a manifest's item says that it is about."""
    return Accessory(item["accessory_of"], item["accessory_kind"]) if "accessory_of" in item else None


def parents_of(repository: str, digest: str) -> list[str]:
    """The indexes that name a manifest."""
    edges = blobs.edges_onto(blobs.manifest_target(repository, digest))
    records = read_records(repository, sorted({edge.manifest for edge in edges}))
    current = {(record.digest, record.generation) for record in records.values()}
    return sorted({edge.manifest for edge in edges if (edge.manifest, edge.generation) in current})


def commit(change: Commit) -> bool:
    """Write a manifest with its tags, its referrer entry, its repository and its charges, all or nothing.

    False when something that `change` was based on has changed since: read again and retry.
    """

    def write(transaction: TransactWrite) -> None:
        _save_manifest(transaction, change)
        _move_tags(transaction, change)
        if change.subject is not None:
            key = referrer_key(change.repository, change.subject, change.artifact_type, change.digest)
            transaction.save(
                tables.ReferrerItem(key.pk, key.sk, generation=change.generation, descriptor=change.descriptor)
            )
        _save_counts(transaction, change)
        usage.add_charges(transaction, change.project_id, change.charges, change.adjustments, change.uploaded)
        for event in change.events:
            audit.record(transaction, event)
        if change.warning is not None:
            audit.publish_in(transaction, change.warning)

    return transact(write)


def _save_counts(transaction: TransactWrite, change: Commit) -> None:
    """Count what is new: a manifest, or that one is an accessory."""
    before, accessory = change.replaces, change.accessory
    becomes_accessory = accessory is not None and (before is None or before.accessory is None)
    if before is None:
        known, public = change.repository_known, change.public
        repositories.add_manifest(
            transaction, change.repository, known=known, public=public, is_accessory=becomes_accessory
        )
    elif becomes_accessory:
        repositories.count_accessory(transaction, change.repository)
    if becomes_accessory and accessory is not None:
        artifacts.count_signature(transaction, change.repository, accessory, 1)


def _save_manifest(transaction: TransactWrite, change: Commit) -> None:
    key, before, time = manifest_key(change.repository, change.digest), change.replaces, now()
    created = before.created if before else time
    untagged = not change.tags and (before is None or before.candidate_since is not None)
    transaction.save(
        tables.ManifestItem(
            key.pk,
            key.sk,
            generation=change.generation,
            version=new_id(),
            state=LIVE,
            media_type=change.media_type,
            size=change.size,
            content=change.content,
            subject=change.subject,
            artifact_type=change.artifact_type,
            accessory_of=change.accessory.subject if change.accessory else None,
            accessory_kind=change.accessory.kind if change.accessory else None,
            created=created,
            committed=time,
            candidate=shard(change.digest) if untagged else None,
            candidate_since=time if untagged else None,
        ),
        condition=tables.ManifestItem.version == before.version if before else tables.ManifestItem.pk.does_not_exist(),
    )
    saved = Artifact(change.repository, change.digest, created, change.summary, accessory=change.accessory)
    artifacts.save(transaction, saved)
    if before is not None and before.accessory != change.accessory:
        artifacts.remove(transaction, change.repository, change.digest, created, before.accessory)


def _move_tags(transaction: TransactWrite, change: Commit) -> None:
    """Point tags at the committed manifest; those that they leave may be garbage."""
    for tag in change.tags:
        _move_tag(transaction, change, tag)
    left = {before.digest for before in change.tags_before.values()} - {change.digest}
    for digest in sorted(left):
        note_candidate(transaction, change.repository, digest)


def _move_tag(transaction: TransactWrite, change: Commit, tag: str) -> None:
    key, before = tag_key(change.repository, tag), change.tags_before.get(tag)
    fields: dict[str, Any] = {"digest": change.digest, "media_type": change.media_type, "updated": now()}
    transaction.save(
        tables.TagItem(key.pk, key.sk, **fields),
        condition=tables.TagItem.digest == before.digest if before else tables.TagItem.pk.does_not_exist(),
    )
    # Not saved anew: a tag that is pushed again keeps the time when it was pulled.
    transaction.update(
        tables.TagItem(key.pk, tagged(change.digest, tag)),
        actions=[getattr(tables.TagItem, name).set(value) for name, value in fields.items()],
    )
    if before is not None and before.digest != change.digest:
        transaction.delete(tables.TagItem(key.pk, tagged(before.digest, tag)))


def note_candidate(transaction: TransactWrite, repository: str, digest: str) -> None:
    """As mark_candidate, in a transaction that holds only if the manifest is there."""
    key = manifest_key(repository, digest)
    transaction.update(
        tables.ManifestItem(key.pk, key.sk),
        actions=[tables.ManifestItem.candidate.set(shard(digest)), tables.ManifestItem.candidate_since.set(now())],
        condition=tables.ManifestItem.pk.exists(),
    )


def mark_candidate(repository: str, digest: str) -> None:
    """Note that a manifest may be garbage; nothing happens when it is gone."""
    key = manifest_key(repository, digest)
    write_if(
        tables.ManifestItem(key.pk, key.sk).update,
        actions=[tables.ManifestItem.candidate.set(shard(digest)), tables.ManifestItem.candidate_since.set(now())],
        condition=tables.ManifestItem.pk.exists(),
    )


def clear_candidate(record: Record) -> bool:
    """Say that a manifest is no garbage after all. False when it was written, or marked again, since it was read.

    A mark gives no new version, so its time is asked for too.
    """
    key = manifest_key(record.repository, record.digest)
    unmarked = tables.ManifestItem.candidate_since == record.candidate_since
    return write_if(
        tables.ManifestItem(key.pk, key.sk).update,
        actions=[tables.ManifestItem.candidate.remove(), tables.ManifestItem.candidate_since.remove()],
        condition=(tables.ManifestItem.version == record.version) & unmarked,
    )


def set_state(record: Record, state: str) -> str:
    """Write a manifest's state. Returns the new version, empty when the manifest changed since it was read."""
    key, version = manifest_key(record.repository, record.digest), new_id()
    written = write_if(
        tables.ManifestItem(key.pk, key.sk).update,
        actions=[tables.ManifestItem.state.set(state), tables.ManifestItem.version.set(version)],
        condition=tables.ManifestItem.version == record.version,
    )
    return version if written else ""


def tags_of(repository: str, digest: str) -> list[str]:
    prefix = tagged(digest, "")
    items = reads.query_all(settings().repositories_table, repository, prefix, ("digest",))
    return [item["sk"].removeprefix(prefix) for item in items]


def referrers_of(repository: str, subject: str) -> list[str]:
    """The digests of the manifests whose subject is `subject`."""
    prefix = f"{REFERRER_PREFIX}{subject}|"
    items = reads.query_all(settings().repositories_table, repository, prefix, ("generation",))
    return [item["sk"].rpartition("|")[2] for item in items]


def tagged(digest: str, tag: str) -> str:
    """The sort key of a tag read from its manifest's end."""
    return f"{TAGGED_PREFIX}{digest}|{tag}"


def referrer_key(repository: str, subject: str, artifact_type: str | None, digest: str) -> Key:
    kind = type_in_key(artifact_type or "")
    return Key(settings().repositories_table, repository, f"{REFERRER_PREFIX}{subject}|{kind}|{digest}")


def type_in_key(artifact_type: str) -> str:
    """An artifact type as referrers' keys have it: without the bar that ends it there.

    What stands for the bar is a control character, which no type has.
    """
    return artifact_type.replace("|", "\x1f")
