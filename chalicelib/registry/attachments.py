"""What goes with a manifest when it is deleted: all that is about it, and what is about that.

A client that knows no referrers API keeps a list of what is about a manifest: an index under a tag made of its digest
(distribution-spec, "Referrers Tag Schema"). The index names signatures, which could not be deleted before it, and
nobody means it when they delete an image. So it goes with the image, first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from chalicelib.registry import accessories, references
from chalicelib.registry.errors import Referenced
from chalicelib.registry.manifests import INDEXES
from chalicelib.storage import artifacts
from chalicelib.storage import blobs as blob_table
from chalicelib.storage import manifests as table


def of(repository: str, digest: str) -> list[str]:
    """The digests of what is about a manifest, in an order in which it can be deleted.

    An index is pushed after what it names: so the last comes first, and the index of the referrers tag before all.
    """
    found = [each.digest for each in reversed(artifacts.accessories_of(repository, digest))]
    listing = _referrers_index(repository, digest)
    return [listing, *found] if listing and listing not in found else found


def all_of(repository: str, digest: str, subjects: Collection[str] = ()) -> list[str]:
    """What is about a manifest at any depth. `subjects`, which it may be about in turn, are left out."""
    found: list[str] = []
    waiting = [digest]
    while waiting:
        new = [each for each in of(repository, waiting.pop()) if each not in {digest, *subjects, *found}]
        found += new
        waiting += new
    return found


def tags_of(repository: str, digest: str) -> list[str]:
    """The tags of all that would be deleted with a manifest: one that must stay keeps all of them."""
    return [tag for each in all_of(repository, digest) for tag in table.tags_of(repository, each)]


def require_unnamed(repository: str, digest: str, going: Collection[str], subjects: Collection[str] = ()) -> None:
    """Raises Referenced when an index names a manifest, or one of `going`, which is deleted before it.

    All are asked before the first is deleted: a refusal leaves them there. What an index among them names is no reason.
    """
    _require_unnamed(repository, digest, ())
    for each in going:
        _require_unnamed(repository, each, {digest, *going, *subjects})


def _require_unnamed(repository: str, digest: str, by: Collection[str]) -> None:
    edges = blob_table.edges_onto(blob_table.manifest_target(repository, digest))
    if references.is_held(edge for edge in edges if edge.manifest not in by):
        raise Referenced(_refusal(repository, digest))


def _refusal(repository: str, digest: str) -> str:
    """Says what has to be deleted first: by a tag, if it has one, for nobody knows an index by its digest."""
    names = [f"{parent} ({', '.join(tags)})" if tags else parent for parent, tags in _parents(repository, digest)]
    if not names:
        return f"an index that is being pushed to {repository} names {digest}"
    return f"an index of {repository} names {digest}: delete that first: {'; '.join(names)}"


def _parents(repository: str, digest: str) -> Iterator[tuple[str, list[str]]]:
    """The indexes that name a manifest, up to five, each with up to five of its tags."""
    for parent in table.parents_of(repository, digest)[:_SHOWN]:
        yield parent, table.tags_of(repository, parent)[:_SHOWN]


_SHOWN = 5


def _referrers_index(repository: str, digest: str) -> str:
    """The index that says what is about a manifest and has no other name; empty when there is none."""
    name = accessories.fallback_tag(digest)
    tag = table.read_tag(repository, name)
    if tag is None or tag.media_type not in INDEXES or table.tags_of(repository, tag.digest) != [name]:
        return ""
    return tag.digest
