"""A repository as retention looks at it: the artifacts that rules are about, and what stands or falls with each.

As in Harbor those are the artifacts that a list shows: with a tag, or not part of an index; no accessories, which go
with their subject. Nor is the index of a referrers tag one, which goes with its subject too (registry/attachments.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.oci import accessories
from chalicelib.oci import manifests as formats
from chalicelib.oci.errors import ManifestUnknown
from chalicelib.oci.manifests import INDEXES
from chalicelib.registry import pull
from chalicelib.registry.store import artifacts, labels, listings, manifests
from chalicelib.registry.store.artifacts import Artifact
from chalicelib.registry.store.listings import Tagged
from chalicelib.retention.records import Candidate


@dataclass(frozen=True)
class Survey:
    """What was seen of a repository. All mappings are by digest, and name what is there."""

    candidates: Sequence[Candidate]
    """The newest first."""
    generations: Mapping[str, str]
    """The commit that was looked at, of what lists show."""
    tags: Mapping[str, Sequence[str]]
    children: Mapping[str, Sequence[str]]
    """What an index names."""
    indexes: Mapping[str, Sequence[str]]
    """The indexes that name a manifest."""
    about: Mapping[str, Sequence[str]]
    """What is about a manifest, itself and not by another."""


def of(repository: str) -> Survey:
    """Look at `repository`.

    The commits are read before the tags: of what changes in between, the deletion finds that it has changed.
    """
    listed = artifacts.read_all(repository)
    attached = artifacts.read_all_accessories(repository)
    records = manifests.read_records(repository, [each.digest for each in listed])
    tags = listings.tags_by_digest(repository)
    carried = labels.names_by_digest(repository)
    children = _children([*listed, *attached])
    about = _about(listed, attached, tags)
    alone = {digest for group in about.values() for digest in group}
    parts = {child for each in listed for child in children.get(each.digest, ())}
    present = {each.digest: each for each in listed}
    return Survey(
        [
            _candidate(each, records[each.digest].generation, present, tags, carried, children)
            for each in listed
            if each.digest in records and each.digest not in alone and (each.digest in tags or each.digest not in parts)
        ],
        {digest: record.generation for digest, record in records.items()},
        {digest: [tag.name for tag in found] for digest, found in tags.items()},
        children,
        _inverted(children),
        about,
    )


def last_pull(repository: str, candidate: Candidate) -> int:
    """When a candidate was pulled last, as the table says now: itself, by a tag, or what follows it. 0 for never."""
    times = artifacts.read_pulled(repository, [(candidate.digest, candidate.created), *candidate.dependents])
    by_tag = [tag.pulled or 0 for tag in listings.tags_of(repository, candidate.digest)]
    return max([0, *times, *by_tag])


def _candidate(
    artifact: Artifact,
    generation: str,
    present: Mapping[str, Artifact],
    tags: Mapping[str, Sequence[Tagged]],
    carried: Mapping[str, Sequence[str]],
    children: Mapping[str, Sequence[str]],
) -> Candidate:
    own = tags.get(artifact.digest, ())
    following = [present[each] for each in _following(artifact.digest, present, tags, children)]
    pulls = [artifact.pulled, *(tag.pulled for tag in own), *(each.pulled for each in following)]
    return Candidate(
        artifact.digest,
        generation,
        artifact.summary["type"].lower(),
        tuple(tag.name for tag in own),
        tuple(carried.get(artifact.digest, ())),
        artifact.pushed,
        max([artifact.pushed, *(tag.updated for tag in own)]),
        max(pulled or 0 for pulled in pulls),
        tuple((each.digest, each.pushed) for each in following),
    )


def _following(
    digest: str,
    present: Mapping[str, Artifact],
    tagged: Mapping[str, Sequence[Tagged]],
    children: Mapping[str, Sequence[str]],
) -> list[str]:
    """The untagged children of an index that lists show, and theirs."""
    found: dict[str, None] = {}
    waiting = [digest]
    while waiting:
        new = [each for each in children.get(waiting.pop(), ()) if each in present and each not in tagged]
        waiting += [each for each in new if each not in found]
        found.update(dict.fromkeys(new))
    return list(found)


def _children(found: Sequence[Artifact]) -> dict[str, list[str]]:
    present = {each.digest for each in found}
    named = {each.digest: [child for child in _named(each) if child in present] for each in found}
    return {digest: children for digest, children in named.items() if children}


def _named(artifact: Artifact) -> Iterator[str]:
    """What an index names: its summary says, unless that would be too long (oci/summaries.py)."""
    if "references" in artifact.summary:
        yield from (each["child_digest"] for each in artifact.summary["references"])
        return
    try:
        pulled = pull.manifest(artifact.repository, artifact.digest)
    except ManifestUnknown:
        return
    yield from formats.stored(pulled.content, pulled.media_type).children


def _inverted(children: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    indexes: dict[str, list[str]] = defaultdict(list)
    for index, named in children.items():
        for child in named:
            indexes[child].append(index)
    return indexes


def _about(
    listed: Sequence[Artifact], attached: Sequence[Artifact], tags: Mapping[str, Sequence[Tagged]]
) -> dict[str, list[str]]:
    """What is about each manifest that is there: accessories, and indexes that have a referrers tag and no other."""
    found = [*listed, *attached]
    about: dict[str, list[str]] = defaultdict(list)
    for each in attached:
        if each.accessory is not None:
            about[each.accessory.subject].append(each.digest)
    subjects = {accessories.fallback_tag(each.digest): each.digest for each in found}
    for each in found:
        names = [tag.name for tag in tags.get(each.digest, ())]
        if len(names) == 1 and names[0] in subjects and each.summary["manifest_media_type"] in INDEXES:
            about[subjects[names[0]]].append(each.digest)
    return about
