"""The Repositories table: when artifacts and tags were pulled last, and how often their repository was pulled from.

Written where lists read it anyway, so that to show it costs nothing. What is deleted meanwhile stays deleted, and a
time never goes back: several processes write, each what it has seen.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.registry.store import artifacts
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store.repositories import catalog_key
from chalicelib.storage import tables
from chalicelib.storage.conditions import write_if


def set_times(repository: str, digest: str, time: int, tags: Mapping[str, int]) -> None:
    """Note when an artifact was pulled, and when by which of its tags. What is gone is passed over."""
    record = manifest_table.read_record(repository, digest)
    if record is None:
        return
    _set_time(tables.ArtifactItem(repository, artifacts.sort_key(record.created, digest, record.accessory)), time)
    for tag, tagged in tags.items():
        _set_time(tables.TagItem(repository, manifest_table.tagged(digest, tag)), tagged)


def _set_time(item: tables.ArtifactItem | tables.TagItem, time: int) -> None:
    kind = type(item)
    later = kind.pulled.does_not_exist() | (kind.pulled < time)
    write_if(item.update, actions=[kind.pulled.set(time)], condition=kind.pk.exists() & later)


def add_count(repository: str, pulls: int) -> None:
    """Count `pulls` more from a repository."""
    key = catalog_key(repository)
    write_if(
        tables.CatalogItem(key.pk, key.sk).update,
        actions=[tables.CatalogItem.pulls.add(pulls)],
        condition=tables.CatalogItem.pk.exists(),
    )
