"""The Repositories table: deleting manifests and tags, with all that is kept of them, in one transaction each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.registry.store import artifacts, labels, manifests, repositories
from chalicelib.registry.store.manifests import Record, Tag
from chalicelib.storage import tables
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite


def delete_manifest(
    record: Record, version: str, tags: Sequence[str], subject: str | None, artifact_type: str | None, event: Event
) -> bool:
    """Delete a manifest that has `version`, with `tags`, labels and referrer entry. False when it changed meanwhile."""
    carried = labels.numbers_of(record.repository, record.digest)

    def write(transaction: TransactWrite) -> None:
        key = manifests.manifest_key(record.repository, record.digest)
        transaction.delete(tables.ManifestItem(key.pk, key.sk), condition=tables.ManifestItem.version == version)
        for tag in tags:
            _remove_tag(transaction, record.repository, tag, record.digest)
        if subject is not None:
            referrer = manifests.referrer_key(record.repository, subject, artifact_type, record.digest)
            transaction.delete(tables.ReferrerItem(referrer.pk, referrer.sk))
        for number in carried:
            labels.remove_in(transaction, number, record.repository, record.digest)
        artifacts.remove(transaction, record.repository, record.digest, record.created, record.accessory)
        if record.accessory is not None:
            artifacts.count_signature(transaction, record.repository, record.accessory, -1)
        repositories.remove_manifest(transaction, record.repository, is_accessory=record.accessory is not None)
        audit.record(transaction, event)

    return transact(write)


def delete_tag(repository: str, tag: Tag, event: Event) -> bool:
    """Delete a tag that still points where it did, and note that its manifest may be garbage."""

    def write(transaction: TransactWrite) -> None:
        _remove_tag(transaction, repository, tag.name, tag.digest)
        manifests.note_candidate(transaction, repository, tag.digest)
        audit.record(transaction, event)

    return transact(write)


def delete_tags(repository: str, digest: str, tags: Sequence[str]) -> bool:
    """Delete tags of one manifest, at most 50 (a transaction holds 100 items)."""

    def write(transaction: TransactWrite) -> None:
        for tag in tags:
            _remove_tag(transaction, repository, tag, digest)

    return transact(write)


def _remove_tag(transaction: TransactWrite, repository: str, tag: str, digest: str) -> None:
    key = manifests.tag_key(repository, tag)
    transaction.delete(tables.TagItem(key.pk, key.sk), condition=tables.TagItem.digest == digest)
    transaction.delete(tables.TagItem(key.pk, manifests.tagged(digest, tag)))
