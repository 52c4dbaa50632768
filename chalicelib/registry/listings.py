"""Lists, a page at a time: tags, referrers and the catalog of repositories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import NameUnknown, PaginationInvalid
from chalicelib.oci.names import NAME_LENGTH, TAG_LENGTH, project_of
from chalicelib.registry.store import listings as table
from chalicelib.registry.store import repositories
from chalicelib.registry.store.manifests import type_in_key

PAGE_LIMIT = 1000
"""Entries a page has at most, and when the client names no `n`."""


@dataclass(frozen=True)
class Page:
    """Entries, and the mark behind which the next page starts (empty at the end)."""

    entries: list[Any]
    next: str


def page_size(text: str | None) -> int:
    """The `n` of a list request, at most PAGE_LIMIT. Raises PaginationInvalid unless it is a number from 0."""
    if text is None:
        return PAGE_LIMIT
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise PaginationInvalid(f"n must be a number of entries, not {text[:40]!r}")
    return min(int(text), PAGE_LIMIT)


def tags(repository: str, after: str, limit: int) -> Page:
    """The tags behind `after`, in byte order. Raises NameUnknown for a repository that holds nothing."""
    if limit == 0:
        return Page([], "")
    # A character more than a tag has sorts as all that follow it do, and DynamoDB takes no key over 1 KB.
    names, more = table.tags(repository, after[: TAG_LENGTH + 1], limit)
    if not names and not repositories.exists(repository):
        raise NameUnknown(f"there is no repository {repository}")
    return Page(names, names[-1] if more else "")


def referrers(repository: str, subject: str, artifact_type: str, after: str, limit: int) -> Page:
    """Descriptors of the manifests whose subject is `subject`, there or not; filtered when a type is given.

    `after` is a page's `next`. Raises PaginationInvalid when it is another's, or no mark at all.
    """
    if after and not _is_mark(after, artifact_type):
        raise PaginationInvalid("last does not belong to this list")
    entries, following = table.referrers(repository, subject, artifact_type, after, max(limit, 1))
    return Page(entries, following)


def _is_mark(text: str, artifact_type: str) -> bool:
    """Whether `text` is where a page of referrers can end: an artifact type, `artifact_type` if given, and a digest."""
    kind, _, digest = text.rpartition("|")
    fits = kind == type_in_key(artifact_type) if artifact_type else manifests.is_type(kind.replace("\x1f", "|"))
    return fits and digests.is_digest(digest)


def catalog(projects: Iterable[str] | None, after: str, limit: int) -> Page:
    """Repositories of `projects`, or of all, behind `after`, in byte order over all of them."""
    after = after[: NAME_LENGTH + 1]  # see `tags`
    if projects is None:
        found = repositories.names(after, limit + 1) if limit else []
        return Page(found[:limit], found[limit - 1] if len(found) > limit else "")
    names: list[str] = []
    # With its slash, a project sorts where its repositories do: `a-b/x` stands before `a/x`.
    for project in sorted(projects, key=lambda name: f"{name}/"):
        if after and f"{project}/" < f"{project_of(after)}/":
            continue
        start = after if project_of(after) == project else ""
        names += table.repositories(project, start, limit + 1 - len(names))
        if len(names) > limit:
            return Page(names[:limit], names[limit - 1] if limit else "")
    return Page(names, "")
