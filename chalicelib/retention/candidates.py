"""The artifacts of a repository that retention is about, read from its tables.

As in Harbor those are the artifacts that a list shows: with a tag, or not part of an index; no accessories, which go
with their subject.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping

from chalicelib.retention.records import Candidate
from chalicelib.storage import artifacts, labels, listings, manifests
from chalicelib.storage.artifacts import Artifact


def read(repository: str) -> list[Candidate]:
    """Every candidate of `repository`, the newest first.

    The commits are read before the tags: of what changes in between, the deletion finds that it has changed.
    """
    found = artifacts.read_all(repository)
    records = manifests.read_records(repository, [each.digest for each in found])
    tags = listings.tags_by_digest(repository)
    carried = labels.names_by_digest(repository)
    named = _named(found)
    indexes = _inverted(named)
    pulls = {each.digest: each.pulled or 0 for each in found}
    dependents = {each.digest: _dependents(each.digest, named, tags) for each in found}
    return [
        Candidate(
            each.digest,
            records[each.digest].generation,
            each.summary["type"].lower(),
            tuple(tag.name for tag in tags.get(each.digest, ())),
            tuple(carried.get(each.digest, ())),
            each.pushed,
            max([each.pushed, *(tag.updated for tag in tags.get(each.digest, ()))]),
            max(
                pulls[each.digest],
                *(tag.pulled or 0 for tag in tags.get(each.digest, ())),
                *(pulls[digest] for digest in dependents[each.digest]),
                0,
            ),
            dependents[each.digest],
            tuple(indexes.get(each.digest, ())),
        )
        for each in found
        if each.digest in records and (each.digest in tags or each.digest not in indexes)
    ]


def _named(found: list[Artifact]) -> dict[str, list[str]]:
    """The digests of children that are there, by the digest of the index that names them."""
    present = {each.digest for each in found}
    named: dict[str, list[str]] = defaultdict(list)
    for each in found:
        for reference in each.summary.get("references") or ():
            if reference["child_digest"] in present:
                named[each.digest].append(reference["child_digest"])
    return named


def _inverted(named: Mapping[str, list[str]]) -> dict[str, list[str]]:
    indexes: dict[str, list[str]] = defaultdict(list)
    for index, children in named.items():
        for child in children:
            indexes[child].append(index)
    return indexes


def _dependents(digest: str, named: Mapping[str, list[str]], tagged: Container[str]) -> tuple[str, ...]:
    """The untagged children of an index, and theirs, each behind the index that names it."""
    found: list[str] = []
    waiting = [digest]
    while waiting:
        children = [each for each in named.get(waiting.pop(), ()) if each not in tagged and each not in found]
        found += children
        waiting += children
    return tuple(found)
