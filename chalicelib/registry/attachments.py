"""What goes with a manifest when it is deleted: all that is about it, and what is about that.

A client that knows no referrers API keeps a list of what is about a manifest: an index under a tag made of its digest
(distribution-spec, "Referrers Tag Schema"). The index names signatures, which could not be deleted before it, and
nobody means it when they delete an image. So it goes with the image, first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from chalicelib.oci import accessories
from chalicelib.oci.errors import Referenced
from chalicelib.oci.manifests import INDEXES
from chalicelib.registry import references
from chalicelib.registry.store import artifacts
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as table

T = TypeVar("T")

_SIDE_BY_SIDE = 8


def of(repository: str, digest: str) -> list[str]:
    """The digests of what is about a manifest, in an order in which it can be deleted.

    An index is pushed after what it names: so the last comes first, and the index of the referrers tag before all.
    """
    found = [each.digest for each in reversed(artifacts.accessories_of(repository, digest))]
    listing = _referrers_index(repository, digest)
    return [listing, *found] if listing and listing not in found else found


def all_of(repository: str, digest: str, subjects: frozenset[str] = frozenset()) -> list[str]:
    """What is about a manifest at any depth, in an order in which it can be deleted: what is about another before that.

    `subjects`, which it may be about in turn, are left out.
    """
    known, found, level = {digest}, list[str](), [digest]
    while level:
        below = list[str]()
        for attached in _each(partial(of, repository), level):
            below += [each for each in reversed(attached) if each not in known and each not in subjects]
            known.update(attached)
        found += below
        level = below
    return found[::-1]


def tags_of(repository: str, going: Collection[str]) -> list[str]:
    """The tags of all that is deleted with a manifest: one that must stay keeps all of them."""
    return [tag for tags in _each(partial(table.tags_of, repository), going) for tag in tags]


def require_unnamed(
    repository: str, digest: str, going: Collection[str], subjects: frozenset[str] = frozenset()
) -> None:
    """Raises Referenced when an index names a manifest, or one of `going`, which is deleted before it.

    All are asked before the first is deleted: a refusal leaves them there. What an index among them names is no reason.
    """
    _require_unnamed(repository, (), digest)
    if going:
        _each(partial(_require_unnamed, repository, frozenset({digest, *going, *subjects})), going)


def _each(look: Callable[[str], T], digests: Collection[str]) -> list[T]:
    """What `look` finds of each: side by side, for a manifest may have thousands of others attached."""
    if len(digests) <= 1:
        return [look(digest) for digest in digests]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return list(pool.map(look, digests))


def _require_unnamed(repository: str, by: Collection[str], digest: str) -> None:
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
