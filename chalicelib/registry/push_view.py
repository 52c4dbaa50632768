"""What a push wants, and what it reads of the tables after its edges are written (docs/gc.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.oci.manifests import Manifest
from chalicelib.projects.records import UNLIMITED, Project
from chalicelib.projects.store import projects as project_table
from chalicelib.projects.store import usage
from chalicelib.projects.store.usage import Charge, Total
from chalicelib.registry.preconditions import Preconditions
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store import repositories
from chalicelib.registry.store.manifests import Record, Tag
from chalicelib.storage import reads
from chalicelib.storage.conditions import now

_ATTRIBUTES = (
    *("object_key", "size", "state", "version", "candidate_since", "uploaded"),
    *("generation", "media_type", "created", "digest", "accessory_of", "accessory_kind"),
    *("project_id", "storage_limit", "freeing", "used", "room", "changes"),
)
"""What a push looks at of blobs, links, manifests, the tag, and its project with charges and totals."""


@dataclass(frozen=True)
class Wanted:
    """What a client wants: a manifest under a digest, with tags that point at it, if what is there is as it wants."""

    repository: str
    digest: str
    tags: Sequence[str]
    parsed: Manifest
    preconditions: Preconditions
    is_by_tag: bool
    """Whether what the preconditions are about is the tag, and not the digest."""

    @property
    def names(self) -> Sequence[str | None]:
        """What the push is told of by: each of its tags, or none."""
        return self.tags or (None,)

    @property
    def tag(self) -> str | None:
        """The one that is told of the manifest where there is room for one."""
        return self.tags[0] if self.tags else None


@dataclass(frozen=True)
class View:
    """What a push reads, in one call, after its edges are written."""

    blobs: dict[str, blob_table.Blob]
    links: dict[str, blob_table.Link]
    children: dict[str, Record]
    current: Record | None
    tags: dict[str, Tag]
    repository_known: bool
    is_project_same: bool
    """Whether the project still has the number and the limit by which the push reads and counts."""
    charges: dict[str, Charge]
    totals: tuple[Total, ...]
    time: int
    """When it was read, in milliseconds since 1970."""

    def serves(self, digest: str) -> bool:
        """Whether the repository has a blob of `digest`."""
        blob, link = self.blobs.get(digest), self.links.get(digest)
        return blob is not None and link is not None and link.object_key == blob.object_key

    def has(self, child: str) -> bool:
        """Whether the repository has what an index names, as a manifest or as a blob."""
        return child in self.children or self.serves(child)

    def blobs_alone(self, parsed: Manifest) -> frozenset[str]:
        """What an index names that is here as a blob, and not as a manifest."""
        return frozenset(child for child in parsed.children if child not in self.children and self.serves(child))


def read(project: Project, wanted: Wanted) -> View:
    """Read it: one call for each hundred items."""
    repository, digest, parsed = wanted.repository, wanted.digest, wanted.parsed
    blob_keys = {blob_table.blob_key(d): d for d in parsed.references}
    link_keys = {blob_table.link_key(repository, d): d for d in parsed.references}
    child_keys = {manifest_table.manifest_key(repository, d): d for d in parsed.children}
    current, catalog = manifest_table.manifest_key(repository, digest), repositories.catalog_key(repository)
    tag_keys = {manifest_table.tag_key(repository, tag): tag for tag in wanted.tags}
    number, project_key = project.project_id, project_table.project_key(project.name)
    charge_keys = {usage.charge_key(number, d): d for d in (digest, *parsed.references)}
    total_keys = [] if project.storage_limit == UNLIMITED else usage.total_keys(number)
    named = [*blob_keys, *link_keys, *child_keys, current, catalog, *tag_keys]
    found = reads.get_items([*named, project_key, *charge_keys, *total_keys], _ATTRIBUTES)
    return View(
        blobs={d: blob_table.to_blob(found[key]) for key, d in blob_keys.items() if key in found},
        links={d: blob_table.to_link(found[key]) for key, d in link_keys.items() if key in found},
        children={d: manifest_table.to_record(found[key]) for key, d in child_keys.items() if key in found},
        current=manifest_table.to_record(found[current]) if current in found else None,
        tags={tag: manifest_table.to_tag(found[key]) for key, tag in tag_keys.items() if key in found},
        repository_known=catalog in found,
        is_project_same=_is_same(project, found.get(project_key)),
        charges={d: usage.to_charge(found[key]) for key, d in charge_keys.items() if key in found},
        totals=usage.to_totals(number, found) if total_keys else (),
        time=now(),
    )


def _is_same(project: Project, item: reads.Item | None) -> bool:
    """Whether what this process remembers of the project is what the table says."""
    known = (project.project_id, project.storage_limit)
    return item is not None and known == (item["project_id"], item.get("storage_limit", UNLIMITED))
