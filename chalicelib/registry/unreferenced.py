"""Bytes that a project stores and is not charged for: those of open uploads, and of blobs that no manifest names.

A limit is on what manifests name (chalicelib/registry/charges.py), so the rest needs a bound of its own, or a tenant
could store any amount by uploads that never end, blobs without a manifest, and manifests that it deletes again. In a
project with a limit the rest may come to a multiple of it (chalicelib/projects/quotas.py). Bytes count once an upload's
session records them. They stop counting with the commit of a manifest that names them (in its transaction), when the
upload is cancelled, and when the collector deletes the blob; they count again when the manifest is deleted.

The count is kept in the totals of the quota. What a crash leaves in it is forgotten by the daily recount, with what has
stayed unreferenced from one to the next (docs/decisions/quotas.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from chalicelib.oci.names import project_of
from chalicelib.projects import rules
from chalicelib.projects.records import UNLIMITED
from chalicelib.projects.store import usage
from chalicelib.projects.store.usage import Adjustment
from chalicelib.registry.store.blobs import Blob, Link

if TYPE_CHECKING:
    from chalicelib.registry.store.uploads import Session


def count(repository: str, size: int) -> None:
    """Count `size` bytes more as unreferenced, fewer when negative. A project without a limit has no count."""
    project = rules.find(project_of(repository)) if size else None
    if project is not None and project.storage_limit != UNLIMITED:
        usage.add_unreferenced(project.project_id, size)


def count_progress(before: Session, after: Session) -> None:
    """Count what a write to an upload's session recorded. Once it is completed it is for `count_published` to count."""
    if not before.digest:
        count(before.repository, -before.offset if after.digest else after.offset - before.offset)


def count_published(repository: str, blob_size: int, digest: str, link: Link | None) -> bool:
    """Count a blob that an upload brings, unless it counts or is charged already.

    `link` is the repository's link to just this blob, if it has one. Returns whether the blob counts: the link says so
    from then on, so that the manifest that is charged for the blob takes it off again.
    """
    if link is not None and link.uploaded:
        return True
    project = rules.find(project_of(repository))
    if project is None or project.storage_limit == UNLIMITED or usage.is_charged(project.project_id, digest):
        return False
    usage.add_unreferenced(project.project_id, blob_size)
    return True


def count_collected(deleted: Iterable[tuple[Blob, Sequence[Link]]]) -> None:
    """Stop counting blobs that the collector has deleted, with their links."""
    sizes: Counter[str] = Counter()
    for blob, links in deleted:
        sizes.update({link.repository: blob.size for link in links if link.uploaded})
    by_project: Counter[str] = Counter()
    for repository, size in sizes.items():
        by_project[project_of(repository)] += size
    for project, size in by_project.items():
        count(project, -size)


def taken_off(
    adjustments: Sequence[Adjustment], sizes: Mapping[str, int], uploaded: Collection[str]
) -> tuple[Adjustment, ...]:
    """The adjustments of the charges `sizes`, which also stop counting those of them that uploads brought."""
    size = sum(sizes[digest] for digest in uploaded)
    if not size or not adjustments:
        return tuple(adjustments)
    return (replace(adjustments[0], unreferenced=-size), *adjustments[1:])
