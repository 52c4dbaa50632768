"""Indexes that name blobs: BuildKit's cache (`--cache-to type=registry`, before 0.21), and manifests put as blobs."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from chalicelib.artifacts import recount, repository_deletion
from chalicelib.oci import manifests
from chalicelib.oci.errors import BlobUnknown, ManifestBlobUnknown, Referenced
from chalicelib.oci.names import project_of
from chalicelib.projects import rules
from chalicelib.registry import deletion, pull, push
from chalicelib.registry.store import artifacts, repositories
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store.blobs import DELETING
from chalicelib.settings import settings
from tests.registry.accounting import assert_exact, charged
from tests.registry.images import descriptor, image, push_blob, push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("cloud")

CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"


def index_of(*entries: dict[str, Any], media_type: str = manifests.OCI_INDEX) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode()


def push_cache(repository: str, media_type: str = manifests.OCI_INDEX) -> tuple[str, list[str]]:
    """A cache as BuildKit exports it: the digest of the index, and those of its layers and config."""
    layers = [push_blob(repository, os.urandom(32)) for _ in range(2)]
    config = push_blob(repository, os.urandom(16), CACHE_CONFIG)
    content = index_of(*layers, config, media_type=media_type)
    pushed = push.manifest(repository, "cache", content, media_type)
    return pushed.digest, [entry["digest"] for entry in (*layers, config)]


@pytest.mark.parametrize("media_type", [manifests.OCI_INDEX, manifests.DOCKER_LIST])
def test_an_index_may_name_blobs(repository: str, media_type: str) -> None:
    digest, names = push_cache(repository, media_type)
    assert pull.manifest(repository, "cache").digest == digest
    assert all(blob_table.read(repository, name)[1] for name in names)
    assert_exact(project_of(repository))


def test_an_index_may_name_a_manifest_that_was_put_as_a_blob(repository: str) -> None:
    child = image(push_blob(repository, b"{}"), push_blob(repository, os.urandom(8)))
    push.manifest(repository, "v1", index_of(push_blob(repository, child, manifests.OCI_MANIFEST)), "")


def test_what_is_neither_is_named(repository: str, other_repository: str) -> None:
    here, elsewhere = push_blob(repository, os.urandom(8)), push_blob(other_repository, os.urandom(8))
    with pytest.raises(ManifestBlobUnknown) as refused:
        push.manifest(repository, "v1", index_of(here, elsewhere), "")
    assert refused.value.detail == [{"digest": elsewhere["digest"]}]
    assert blob_table.edges_onto(here["digest"]) == []


def test_what_an_index_names_is_not_deleted_before_it(repository: str) -> None:
    digest, names = push_cache(repository)
    for name in names:
        with pytest.raises(Referenced):
            deletion.blob(repository, name)
    deletion.manifest(repository, digest)
    assert_exact(project_of(repository))
    for name in names:
        blob = blob_table.read_record(name)
        assert blob is not None
        assert blob.candidate_since is not None
        deletion.blob(repository, name)
    with pytest.raises(BlobUnknown):
        deletion.blob(repository, names[0])


def test_a_manifest_that_is_a_blob_too_is_held_as_both(repository: str) -> None:
    digest, content = push_image(repository)
    push_blob(repository, content, manifests.OCI_MANIFEST)
    parent = push.manifest(repository, "index", index_of(descriptor(content, manifests.OCI_MANIFEST)), "").digest
    for delete in (deletion.manifest, deletion.blob):
        with pytest.raises(Referenced):
            delete(repository, digest)
    assert_exact(project_of(repository))
    deletion.manifest(repository, parent)
    deletion.blob(repository, digest)
    assert pull.manifest(repository, digest).content == content
    assert_exact(project_of(repository))
    deletion.manifest(repository, digest)
    assert charged(project_of(repository)) == {}


def test_a_blob_that_comes_to_a_sparse_index_is_held(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(8)
    monkeypatch.setenv("BERTH_SPARSE_INDEXES", "true")
    settings.cache_clear()
    try:
        push.manifest(repository, "v1", index_of(descriptor(content)), "")
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    name = push_blob(repository, content)["digest"]
    with pytest.raises(Referenced):
        deletion.blob(repository, name)
    project = rules.get(project_of(repository))
    recount.recount(project, lambda: True)
    assert_exact(project.name)


def test_an_index_rescues_the_blob_that_a_delete_has_marked(repository: str) -> None:
    entry = push_blob(repository, os.urandom(8))
    link = blob_table.read_link(repository, entry["digest"])
    assert link is not None
    assert blob_table.set_link_state(link, DELETING)
    push.manifest(repository, "cache", index_of(entry), "")
    held = blob_table.read_link(repository, entry["digest"])
    assert held is not None
    assert held.state == "live"


def test_references_list_artifacts_alone(repository: str) -> None:
    layer = push_blob(repository, os.urandom(8))
    digest, content = push_image(repository)
    pushed = push.manifest(repository, "v1", index_of(layer, descriptor(content, manifests.OCI_MANIFEST)), "")
    record = manifest_table.read_record(repository, pushed.digest)
    assert record is not None
    found = artifacts.read(repository, pushed.digest, record.created, None)
    assert found is not None
    assert [each["child_digest"] for each in found.summary["references"]] == [digest]


def test_a_repository_with_a_cache_is_deleted_whole(repository: str) -> None:
    _, names = push_cache(repository)
    repository_deletion.delete(repository)
    assert not repositories.exists(repository)
    assert charged(project_of(repository)) == {}
    assert all(blob_table.read_link(repository, name) is None for name in names)


def test_a_refused_push_writes_to_no_blob_that_is_not_there(repository: str) -> None:
    """Each would be a call of its own: an index of 1,999 absent blobs came near the gateway's 30 seconds."""
    entries = [descriptor(os.urandom(8)) for _ in range(300)]
    with counted() as calls, pytest.raises(ManifestBlobUnknown):
        push.manifest(repository, "v1", index_of(*entries), "")
    writes = [operation for _, operation in calls if operation not in ("BatchGetItem", "Query", "GetItem")]
    assert set(writes) == {"BatchWriteItem"}
    assert len(calls) < 90


@pytest.mark.parametrize("first", ["cache", "v1"])
def test_a_layer_that_an_image_shares_with_a_cache_stays_with_whichever_is_left(repository: str, first: str) -> None:
    _, names = push_cache(repository)
    layer = {**descriptor(b""), "digest": names[0], "size": 32}
    push.manifest(repository, "v1", image(push_blob(repository, b"{}"), layer), "")
    deletion.manifest(repository, pull.manifest(repository, first).digest)
    with pytest.raises(Referenced):
        deletion.blob(repository, names[0])
    assert_exact(project_of(repository))
