"""The Repositories table: what lists of a repository's artifacts show, without the manifests themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.oci.accessories import COSIGN, Accessory
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import write_if
from chalicelib.storage.reads import Item, Key

if TYPE_CHECKING:
    from pynamodb.expressions.update import Action
    from pynamodb.transactions import TransactWrite

ARTIFACT_PREFIX = "artifact|"
ACCESSORY_PREFIX = "accessory|"
_SIGNED_PREFIX = "signed|"


@dataclass(frozen=True)
class Artifact:
    """A manifest as Harbor lists it. `summary` holds the parts of it that a list shows."""

    repository: str
    digest: str
    pushed: int
    """When this digest was first pushed, in milliseconds since 1970."""
    summary: Mapping[str, Any]
    pulled: int | None = None
    """When it was pulled last."""
    accessory: Accessory | None = None
    """What it is about, if it is an accessory: lists of artifacts leave it out."""
    extra: Mapping[str, Any] | None = None
    """What its config says of it, as far as it was asked for."""


def save(transaction: TransactWrite, artifact: Artifact) -> None:
    """Write what lists show; of one that is pushed again, what else is known of it stays."""
    accessory = artifact.accessory
    actions: list[Action] = [tables.ArtifactItem.summary.set(dict(artifact.summary))]
    if accessory is not None:
        actions.append(tables.ArtifactItem.kind.set(accessory.kind))
    transaction.update(
        tables.ArtifactItem(artifact.repository, sort_key(artifact.pushed, artifact.digest, accessory)), actions=actions
    )


def set_extra(artifact: Artifact, extra: Mapping[str, Any]) -> None:
    """Keep what an artifact's config says; nothing happens when the artifact is gone."""
    item = tables.ArtifactItem(artifact.repository, sort_key(artifact.pushed, artifact.digest, artifact.accessory))
    write_if(
        item.update, actions=[tables.ArtifactItem.extra.set(dict(extra))], condition=tables.ArtifactItem.pk.exists()
    )


def remove(transaction: TransactWrite, repository: str, digest: str, pushed: int, accessory: Accessory | None) -> None:
    transaction.delete(tables.ArtifactItem(repository, sort_key(pushed, digest, accessory)))


def count_signature(transaction: TransactWrite, repository: str, accessory: Accessory, number: int) -> None:
    """Count `number` (1 or -1) signatures more of a subject, if `accessory` is one."""
    if accessory.is_signature:
        key = signed_key(repository, accessory.subject)
        counter = tables.SignedItem.cosign if accessory.kind == COSIGN else tables.SignedItem.notation
        transaction.update(tables.SignedItem(key.pk, key.sk), actions=[counter.add(number)])


def forget_signatures(repository: str, subject: str) -> None:
    """Drop the count of signatures of a subject that is gone, unless it has some."""
    key = signed_key(repository, subject)
    none = (tables.SignedItem.cosign.does_not_exist() | (tables.SignedItem.cosign == 0)) & (
        tables.SignedItem.notation.does_not_exist() | (tables.SignedItem.notation == 0)
    )
    write_if(tables.SignedItem(key.pk, key.sk).delete, condition=none)


def signed_key(repository: str, subject: str) -> Key:
    return Key(settings().repositories_table, repository, f"{_SIGNED_PREFIX}{subject}")


def read(repository: str, digest: str, pushed: int, accessory: Accessory | None) -> Artifact | None:
    item = reads.get_item(Key(settings().repositories_table, repository, sort_key(pushed, digest, accessory)))
    return _to_artifact(item) if item else None


def accessories_of(repository: str, subject: str, *, most_calls: int = 0) -> list[Artifact]:
    """What is about `subject`, there or not, by the time of its push. `most_calls` as reads.query_all has it."""
    prefix = f"{ACCESSORY_PREFIX}{subject}|"
    items = reads.query_all(settings().repositories_table, repository, prefix, most_calls=most_calls)
    return [_to_artifact(item) for item in items]


def first_accessories_of(repository: str, subject: str, limit: int) -> list[Artifact]:
    """The first of `accessories_of`, up to `limit` and to a megabyte: one call."""
    prefix = f"{ACCESSORY_PREFIX}{subject}|"
    items, _ = reads.query(settings().repositories_table, repository, prefix, limit=limit)
    return [_to_artifact(item) for item in items]


def read_page(
    repository: str, start: int, limit: int, *, descending: bool = True, accessories: bool = False
) -> list[Artifact]:
    """Up to `limit` artifacts by the time of their push, from the one with index `start`; or accessories by subject."""
    table, prefix = settings().repositories_table, ACCESSORY_PREFIX if accessories else ARTIFACT_PREFIX
    items = reads.query_page(table, repository, prefix, start, limit, descending=descending)
    return [_to_artifact(item) for item in items]


def read_all(repository: str, *, most_calls: int = 0) -> list[Artifact]:
    """Every artifact that is no accessory, the newest first. `most_calls` as reads.query_all has it."""
    items = reads.query_all(settings().repositories_table, repository, ARTIFACT_PREFIX, most_calls=most_calls)
    return [_to_artifact(item) for item in reversed(items)]


def read_all_accessories(repository: str) -> list[Artifact]:
    """Every accessory, by its subject."""
    items = reads.query_all(settings().repositories_table, repository, ACCESSORY_PREFIX)
    return [_to_artifact(item) for item in items]


def pulled(repository: str) -> dict[str, int]:
    """When artifacts that are no accessories were pulled last, by digest: those that ever were.

    An index was when something was that it names: a node pulls its platform's image, maybe by its digest alone.
    """
    found = read_all(repository)
    times = {each.digest: each.pulled for each in found if each.pulled}
    named = {each.digest: [entry["child_digest"] for entry in each.summary.get("references") or ()] for each in found}
    indexes = [digest for digest, children in named.items() if children]
    is_changed = True
    while is_changed:  # as often as indexes name indexes
        later = {each: max(times.get(digest, 0) for digest in (each, *named[each])) for each in indexes}
        is_changed = any(last > times.get(digest, 0) for digest, last in later.items())
        times |= {digest: last for digest, last in later.items() if last}
    return times


def read_pulled(repository: str, listed: Iterable[tuple[str, int]]) -> list[int]:
    """When the artifacts of these digests and times of first push were pulled last, 0 for never; none that is gone."""
    table = settings().repositories_table
    keys = [Key(table, repository, sort_key(pushed, digest, None)) for digest, pushed in listed]
    return [item.get("pulled", 0) for item in reads.get_items(keys, ("pulled",)).values()]


def sort_key(pushed: int, digest: str, accessory: Accessory | None) -> str:
    prefix = f"{ACCESSORY_PREFIX}{accessory.subject}|" if accessory else ARTIFACT_PREFIX
    return f"{prefix}{pushed:015d}|{digest}"


def _to_artifact(item: Item) -> Artifact:
    _, *subject, pushed, digest = item["sk"].split("|")
    accessory = Accessory(subject[0], item["kind"]) if subject else None
    summary, extra = json.loads(item["summary"]), json.loads(item["extra"]) if "extra" in item else None
    return Artifact(item["pk"], digest, int(pushed), summary, item.get("pulled"), accessory, extra)
