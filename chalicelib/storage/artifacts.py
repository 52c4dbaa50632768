"""The Repositories table: what lists of a repository's artifacts show, without the manifests themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pynamodb.transactions import TransactWrite

from chalicelib.settings import settings
from chalicelib.storage import reads
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.repositories import ArtifactItem

ARTIFACT_PREFIX = "artifact|"


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


def save(transaction: TransactWrite, artifact: Artifact) -> None:
    """Write what lists show; of one that is pushed again, what else is known of it stays."""
    transaction.update(
        ArtifactItem(artifact.repository, sort_key(artifact.pushed, artifact.digest)),
        actions=[ArtifactItem.summary.set(dict(artifact.summary))],
    )


def remove(transaction: TransactWrite, repository: str, digest: str, pushed: int) -> None:
    transaction.delete(ArtifactItem(repository, sort_key(pushed, digest)))


def read(repository: str, digest: str, pushed: int) -> Artifact | None:
    item = reads.get_item(Key(settings().repositories_table, repository, sort_key(pushed, digest)))
    return _to_artifact(item) if item else None


def read_page(repository: str, start: int, limit: int, *, descending: bool = True) -> list[Artifact]:
    """Up to `limit` artifacts by the time of their push, from the one with index `start`."""
    table = settings().repositories_table
    items = reads.query_page(table, repository, ARTIFACT_PREFIX, start, limit, descending=descending)
    return [_to_artifact(item) for item in items]


def read_all(repository: str) -> list[Artifact]:
    """Every artifact, the newest first."""
    items = reads.query_all(settings().repositories_table, repository, ARTIFACT_PREFIX)
    return [_to_artifact(item) for item in reversed(items)]


def sort_key(pushed: int, digest: str) -> str:
    return f"{ARTIFACT_PREFIX}{pushed:015d}|{digest}"


def _to_artifact(item: Item) -> Artifact:
    pushed, _, digest = item["sk"].removeprefix(ARTIFACT_PREFIX).partition("|")
    return Artifact(item["pk"], digest, int(pushed), json.loads(item["summary"]), item.get("pulled"))
