"""What a project's usage must be, counted anew from its manifests."""

from __future__ import annotations

from chalicelib.oci import manifests
from chalicelib.projects import rules
from chalicelib.projects.records import UNLIMITED
from chalicelib.projects.store import usage
from chalicelib.registry import pull
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store import repositories
from chalicelib.settings import settings
from chalicelib.storage import reads


def used(project: str) -> int:
    """What the project is charged for, by its totals."""
    number = rules.get(project).project_id
    return sum(total.used for total in usage.read_totals([number])[number])


def charged(project: str) -> dict[str, int]:
    """What the project is charged for, digest by digest."""
    number = rules.get(project).project_id
    pages = [usage.read_page(number, shard, "", 0) for shard in range(usage.SHARDS)]
    assert not any(after for _, after in pages)
    return {charge.digest: charge.size for charges, _ in pages for charge in charges}


def named(project: str) -> dict[str, int]:
    """Size by digest of the manifests of the project and of the blobs that they name, as the stores have them."""
    sizes: dict[str, int] = {}
    table = settings().repositories_table
    for repository in repositories.read_all(project):
        for item in reads.query_all(table, repository.name, manifest_table.MANIFEST_PREFIX, ("media_type",)):
            digest = item["sk"].removeprefix(manifest_table.MANIFEST_PREFIX)
            pulled = pull.manifest(repository.name, digest)
            sizes[digest] = len(pulled.content)
            for name in manifests.parse(pulled.content, pulled.media_type).references:
                blob, _ = blob_table.read(repository.name, name)
                if blob is not None:
                    sizes[name] = blob.size
    return sizes


def assert_exact(project: str) -> None:
    """The project is charged for what its manifests name, once each, and the totals say the same."""
    expected = named(project)
    assert charged(project) == expected
    assert_summed(project)
    assert used(project) == sum(expected.values())


def assert_summed(project: str) -> None:
    """The totals are the sum of the charges, and the room is what is left of the limit."""
    found = rules.get(project)
    totals = usage.read_totals([found.project_id])[found.project_id]
    sum_used = sum(total.used for total in totals)
    assert sum_used == sum(charged(project).values())
    limit = 0 if found.storage_limit == UNLIMITED else found.storage_limit
    assert sum(total.room for total in totals) == limit - sum_used
