"""Pages of the Repositories table: tags, referrers and the catalog, in byte order."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from chalicelib.registry.store.manifests import REFERRER_PREFIX, TAG_PREFIX, TAGGED_PREFIX, type_in_key
from chalicelib.settings import settings
from chalicelib.storage import reads
from chalicelib.storage.reads import Item
from chalicelib.storage.tables.keys import CATALOG_PREFIX

_TAGGED = ("digest", "updated", "pulled")


@dataclass(frozen=True)
class Tagged:
    """A tag, and when it was put and last pulled, in milliseconds since 1970."""

    name: str
    digest: str
    updated: int
    pulled: int | None


def tags(repository: str, after: str, limit: int) -> tuple[list[str], bool]:
    """Up to `limit` tags behind `after` in byte order, and whether there are more."""
    start = f"{TAG_PREFIX}{after}" if after else ""
    items, more = _page(repository, TAG_PREFIX, start, limit, "digest")
    return [item["sk"].removeprefix(TAG_PREFIX) for item in items], more


def tags_of(repository: str, digest: str) -> list[Tagged]:
    """The tags of one manifest, in byte order."""
    prefix = f"{TAGGED_PREFIX}{digest}|"
    return [_to_tagged(item) for item in reads.query_all(settings().repositories_table, repository, prefix, _TAGGED)]


def first_tags_of(repository: str, digest: str, limit: int) -> list[Tagged]:
    """The first of `tags_of`, up to `limit`: one call."""
    table, prefix = settings().repositories_table, f"{TAGGED_PREFIX}{digest}|"
    items, _ = reads.query(table, repository, prefix, limit=limit, attributes=_TAGGED)
    return [_to_tagged(item) for item in items]


def tags_by_digest(repository: str) -> dict[str, list[Tagged]]:
    """Every tag of a repository, by the manifest's digest."""
    tags: dict[str, list[Tagged]] = defaultdict(list)
    for item in reads.query_all(settings().repositories_table, repository, TAGGED_PREFIX, _TAGGED):
        tags[item["digest"]].append(_to_tagged(item))
    return tags


def _to_tagged(item: Item) -> Tagged:
    return Tagged(item["sk"].rpartition("|")[2], item["digest"], item["updated"], item.get("pulled"))


def referrers(
    repository: str, subject: str, artifact_type: str, after: str, limit: int
) -> tuple[list[dict[str, Any]], str]:
    """A page of the descriptors that refer to `subject`, and the mark to go on behind (empty at the end)."""
    prefix = f"{REFERRER_PREFIX}{subject}|"
    wanted = f"{prefix}{type_in_key(artifact_type)}|" if artifact_type else prefix
    items, more = _page(repository, wanted, f"{prefix}{after}" if after else "", limit, "descriptor")
    return [json.loads(item["descriptor"]) for item in items], (items[-1]["sk"].removeprefix(prefix) if more else "")


def _page(repository: str, prefix: str, start: str, limit: int, attribute: str) -> tuple[list[Item], bool]:
    """Ask for one item more than a page holds: DynamoDB reports a next page whenever the limit is reached."""
    items, more = reads.query(
        settings().repositories_table,
        repository,
        prefix,
        after=start,
        limit=limit + 1,
        attributes=(attribute,),
    )
    return items[:limit], bool(more) or len(items) > limit


def repositories(project: str, after: str, limit: int) -> list[str]:
    """Up to `limit` repositories of a project, behind `after` in byte order."""
    items, _ = reads.query(settings().repositories_table, f"{CATALOG_PREFIX}{project}", "", after=after, limit=limit)
    return [item["sk"] for item in items]
