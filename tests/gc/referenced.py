"""What is left of a registry in the end: what its manifests name, and nothing else."""

from __future__ import annotations

from chalicelib.gc.store import scans
from chalicelib.oci import manifests
from chalicelib.registry import charges
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.storage import blobstore, bulk
from chalicelib.storage.tables.keys import MANIFEST_PREFIX
from chalicelib.storage.tables.repositories import ManifestItem


def assert_only_what_is_referenced() -> None:
    """Of the whole registry: records, links, edges and objects are those that the manifests that stand name."""
    wanted: set[tuple[str, str]] = set()
    stored: set[tuple[str, str]] = set()
    edges: set[tuple[str, str, str, str]] = set()
    for item in ManifestItem.scan(ManifestItem.sk.startswith(MANIFEST_PREFIX)):
        repository, digest = item.pk, item.sk.removeprefix(MANIFEST_PREFIX)
        content = item.content or blobstore.get(manifest_table.object_key(item.generation)) or b""
        parsed = manifests.parse(content, item.media_type)
        stored.add((repository, digest))
        wanted |= {(repository, name) for name in parsed.references}
        edges |= {(name, repository, digest, item.generation) for name in parsed.references}
        targets = [blob_table.manifest_target(repository, child) for child in parsed.children]
        targets.append(charges.charge_edge_key(repository, digest))
        edges |= {(target, repository, digest, item.generation) for target in targets}
    records: dict[str, str] = {}
    links: dict[tuple[str, str], str] = {}
    found: set[tuple[str, str, str, str]] = set()
    for segment in range(scans.SEGMENTS):
        for page in scans.blobs_table(segment):
            records |= page.records
            links |= {(repository, digest): key for repository, digest, key in page.links}
            found |= {(edge.target, edge.repository, edge.manifest, edge.generation) for edge in page.edges}
    assert not found - edges, "edges of no manifest stay"
    assert not edges - found, "a manifest lacks edges: its blobs may be collected"
    # What an index names is a manifest of its repository or a blob, and may be both.
    wanted -= {each for each in wanted & stored if each[1] not in records}
    assert records.keys() == {digest for _, digest in wanted}
    assert {each for each in wanted if each[1] in records} <= links.keys()
    assert all(records.get(digest) == key for (_, digest), key in links.items())
    assert {key for keys in bulk.pages("blobs/") for key, _ in keys} == set(records.values())
