"""The artifacts of a repository that retention is about, read from its tables.

As in Harbor those are the artifacts that a list shows: with a tag, or not part of an index; no accessories, which go
with their subject.
"""

from __future__ import annotations

from collections import defaultdict

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
    following = _following(found)
    parts = {digest for digests in following.values() for digest in digests}
    return [
        Candidate(
            each.digest,
            records[each.digest].generation,
            each.summary["type"].lower(),
            tuple(tag.name for tag in tags.get(each.digest, ())),
            tuple(carried.get(each.digest, ())),
            each.pushed,
            max([each.pushed, *(tag.updated for tag in tags.get(each.digest, ()))]),
            max([each.pulled or 0, *(tag.pulled or 0 for tag in tags.get(each.digest, ()))]),
            tuple(digest for digest in following.get(each.digest, ()) if digest not in tags),
        )
        for each in found
        if each.digest in records and (each.digest in tags or each.digest not in parts)
    ]


def _following(found: list[Artifact]) -> dict[str, list[str]]:
    """The digests of children that are there, by the digest of the index that names them."""
    present = {each.digest for each in found}
    following: dict[str, list[str]] = defaultdict(list)
    for each in found:
        for reference in each.summary.get("references") or ():
            if reference["child_digest"] in present:
                following[each.digest].append(reference["child_digest"])
    return following
