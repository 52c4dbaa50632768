"""Pushing, pulling and deleting manifests and blobs by the rules, on real tables."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable

import pytest

from chalicelib.events.records import JOBS, Event
from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestUnknown,
    NameUnknown,
    PaginationInvalid,
    Referenced,
)
from chalicelib.registry import blobs, deletion, listings, pull, push
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store import removals, repositories
from chalicelib.storage import tables
from tests.registry.images import CONFIG, descriptor, image, index, push_blob, push_image

pytestmark = pytest.mark.usefixtures("cloud")


def test_a_manifest_is_pulled_as_it_was_pushed(repository: str) -> None:
    digest, content = push_image(repository, "v1")
    for reference in ("v1", digest):
        pulled = pull.manifest(repository, reference)
        assert (pulled.digest, pulled.content, pulled.media_type) == (digest, content, manifests.OCI_MANIFEST)


def test_bytes_are_kept_whatever_their_spacing(repository: str) -> None:
    config = push_blob(repository, b"{}", CONFIG)
    content = b" \n" + json.dumps(json.loads(image(config)), indent=3).encode() + b"\n\n"
    assert pull.manifest(repository, push.manifest(repository, "x", content, "").digest).content == content


def test_a_sha512_reference_is_stored_under_it(repository: str) -> None:
    content = image(push_blob(repository, b"{}", CONFIG))
    reference = digests.of(content, "sha512")
    assert push.manifest(repository, reference, content, "").digest == reference
    assert pull.manifest(repository, reference).content == content


def test_a_manifest_under_another_digest_is_refused(repository: str) -> None:
    content = image(push_blob(repository, b"{}", CONFIG))
    with pytest.raises(DigestInvalid):
        push.manifest(repository, "sha256:" + "0" * 64, content, "")


def test_missing_blobs_are_named_and_nothing_is_stored(repository: str) -> None:
    config, absent = push_blob(repository, b"{}", CONFIG), descriptor(os.urandom(8))
    with pytest.raises(ManifestBlobUnknown) as caught:
        push.manifest(repository, "x", image(config, absent), "")
    assert caught.value.detail == [{"digest": absent["digest"]}]
    assert not blob_table.edges_onto(absent["digest"])
    assert not blob_table.edges_onto(config["digest"], repository)
    with pytest.raises(ManifestUnknown):
        pull.manifest(repository, "x")


def test_another_repositorys_blob_does_not_count(repository: str, other_repository: str) -> None:
    config = push_blob(other_repository, os.urandom(9), CONFIG)
    with pytest.raises(ManifestBlobUnknown):
        push.manifest(repository, "x", image(config), "")
    with pytest.raises(BlobUnknown):
        blobs.find(repository, config["digest"])


def test_an_index_needs_its_children(repository: str) -> None:
    _, child = push_image(repository, "child")
    with pytest.raises(ManifestBlobUnknown):
        push.manifest(repository, "all", index(child, b"absent"), "")
    assert push.manifest(repository, "all", index(child), "").digest


def test_a_project_that_is_gone_takes_no_push(repository: str) -> None:
    nowhere = f"gone-{os.urandom(4).hex()}/app"
    with pytest.raises(NameUnknown):
        push.manifest(nowhere, "x", b'{"a": 1}', "a/b")
    assert not repositories.exists(nowhere)


def test_a_large_manifest_lives_in_s3_and_goes_with_its_record(repository: str) -> None:
    content = index(annotations={"note": "x" * 1_000_000})
    digest = push.manifest(repository, "big", content, "").digest
    push.manifest(repository, "big", content, "")
    stored = manifest_table.read_stored(repository, digest)
    assert stored is not None
    assert stored.content is None
    assert pull._ContentCache(1).get(digest) is None
    assert pull.manifest(repository, "big").content == content
    deletion.manifest(repository, digest)
    assert push.blobstore.get(manifest_table.object_key(stored.generation)) is None


def test_a_push_again_replaces_the_generation_and_its_edges(repository: str) -> None:
    digest, content = push_image(repository, "a", layers=1)
    layer = json.loads(content)["layers"][0]["digest"]
    [before] = blob_table.edges_onto(layer)
    push.manifest(repository, "b", content, "")
    [after] = blob_table.edges_onto(layer)
    record = manifest_table.read_record(repository, digest)
    assert record is not None
    assert before.generation != after.generation == record.generation
    assert manifest_table.tags_of(repository, digest) == ["a", "b"]


def test_a_moved_tag_leaves_its_old_manifest_as_a_candidate(repository: str) -> None:
    old, _ = push_image(repository, "v1")
    new, _ = push_image(repository, "v1")
    record = manifest_table.read_record(repository, old)
    assert record is not None
    assert record.candidate_since is not None
    assert manifest_table.tags_of(repository, old) == []
    assert pull.manifest(repository, "v1").digest == new


def test_deleting_a_digest_takes_its_tags_and_frees_its_blobs(repository: str) -> None:
    digest, content = push_image(repository, "a", layers=1)
    for number in range(60):  # more than one transaction holds
        push.manifest(repository, f"t{number}", content, "")
    deletion.manifest(repository, digest)
    assert listings.tags(repository, "", 100).entries == []
    layer = json.loads(content)["layers"][0]["digest"]
    blob, _ = blob_table.read(repository, layer)
    assert blob is not None
    assert blob.candidate_since is not None
    assert not blob_table.edges_onto(layer)
    with pytest.raises(ManifestUnknown):
        deletion.manifest(repository, digest)


def test_deleting_a_tag_leaves_the_manifest(repository: str) -> None:
    digest, _ = push_image(repository, "a")
    deletion.manifest(repository, "a")
    assert pull.manifest(repository, digest).digest == digest
    with pytest.raises(ManifestUnknown):
        pull.manifest(repository, "a")


def test_what_is_referenced_is_not_deleted(repository: str) -> None:
    digest, content = push_image(repository, "child", layers=1)
    parent = push.manifest(repository, "all", index(content), "").digest
    with pytest.raises(Referenced):
        deletion.manifest(repository, digest)
    layer = json.loads(content)["layers"][0]["digest"]
    with pytest.raises(Referenced):
        deletion.blob(repository, layer)
    assert blobs.find(repository, layer).digest == layer
    for reference in (parent, digest):
        deletion.manifest(repository, reference)
    deletion.blob(repository, layer)
    with pytest.raises(BlobUnknown):
        blobs.find(repository, layer)


def test_a_blob_deleted_in_one_repository_stays_in_another(repository: str, other_repository: str) -> None:
    content = os.urandom(20)
    digest = push_blob(repository, content)["digest"]
    push_blob(other_repository, content)
    deletion.blob(repository, digest)
    assert blobs.find(other_repository, digest).size == 20


def test_the_first_upload_of_a_digest_wins(repository: str, other_repository: str) -> None:
    content = os.urandom(20)
    digest = push_blob(repository, content)["digest"]
    kept = blobs.find(repository, digest).object_key
    push_blob(other_repository, content)
    assert blobs.find(other_repository, digest).object_key == kept


def test_a_link_to_a_collected_blob_serves_nothing(repository: str, other_repository: str) -> None:
    content = os.urandom(20)
    digest = push_blob(repository, content)["digest"]
    tables.BlobItem(digest, blob_table.BLOB).delete()
    push_blob(other_repository, content)
    with pytest.raises(BlobUnknown):
        blobs.find(repository, digest)


def test_a_condemned_blob_is_rescued_by_whoever_needs_it(repository: str) -> None:
    _, content = push_image(repository, "a", layers=1)
    layer = json.loads(content)["layers"][0]["digest"]
    uses: list[Callable[[], object]] = [
        lambda: blobs.find(repository, layer),
        lambda: push.manifest(repository, "b", content, ""),
        lambda: blobs.publish(repository, layer, 32, "blobs/unused"),
    ]
    for use in uses:
        item = tables.BlobItem(layer, blob_table.BLOB)
        item.update(actions=[tables.BlobItem.state.set(blob_table.CONDEMNED)])
        use()
        blob, _ = blob_table.read(repository, layer)
        assert blob is not None
        assert blob.state == blob_table.LIVE


def test_a_push_rescues_what_a_delete_had_marked(repository: str) -> None:
    digest, content = push_image(repository, "a", layers=1)
    layer = json.loads(content)["layers"][0]["digest"]
    record = manifest_table.read_record(repository, digest)
    _, link = blob_table.read(repository, layer)
    assert record is not None
    assert link is not None
    manifest_version = manifest_table.set_state(record, blob_table.DELETING)
    link_version = blob_table.set_link_state(link, blob_table.DELETING)
    push.manifest(repository, "all", index(content), "")
    push.manifest(repository, "b", content, "")
    assert not removals.delete_manifest(
        record, manifest_version, [], None, None, Event("delete", "artifact", repository, JOBS)
    )
    assert not blob_table.delete_link(link, link_version)
    assert pull.manifest(repository, "b").digest == digest


def test_referrers_are_listed_filtered_and_removed(repository: str) -> None:
    subject, content = push_image(repository, "a")
    config = push_blob(repository, b"{}", CONFIG)
    about = {"mediaType": manifests.OCI_MANIFEST, "digest": subject, "size": len(content)}
    pushed = {
        kind: push.manifest(repository, f"r{place}", image(config, subject=about, artifactType=kind), "")
        for place, kind in enumerate(["text/a", "text/b", "text/c"])
    }
    assert {p.subject for p in pushed.values()} == {subject}
    first = listings.referrers(repository, subject, "", "", 2)
    rest = listings.referrers(repository, subject, "", first.next, 2)
    assert [e["artifactType"] for e in first.entries + rest.entries] == ["text/a", "text/b", "text/c"]
    assert rest.next == ""
    [only] = listings.referrers(repository, subject, "text/b", "", 10).entries
    assert only["digest"] == pushed["text/b"].digest
    deletion.manifest(repository, pushed["text/b"].digest)
    assert listings.referrers(repository, subject, "text/b", "", 10).entries == []
    with pytest.raises(PaginationInvalid):
        listings.referrers(repository, subject, "text/b", "text/a|x", 10)


def test_a_subject_may_be_absent(repository: str) -> None:
    config, ghost = push_blob(repository, b"{}", CONFIG), descriptor(os.urandom(8), manifests.OCI_MANIFEST)
    push.manifest(repository, "r", image(config, subject=ghost), "")
    assert len(listings.referrers(repository, ghost["digest"], "", "", 10).entries) == 1


def test_tags_come_in_pages_without_an_empty_last_one(repository: str) -> None:
    _, content = push_image(repository, "a")
    for tag in ("B", "c", "d"):
        push.manifest(repository, tag, content, "")
    pages, last = [], ""
    while not pages or last:
        page = listings.tags(repository, last, 2)
        pages.append(page.entries)
        last = page.next
    assert pages == [["B", "a"], ["c", "d"]]
    assert listings.tags(repository, "b", 5).entries == ["c", "d"]
    with pytest.raises(NameUnknown):
        listings.tags(f"{repository}-not", "", 5)


def test_the_catalog_is_in_byte_order_over_projects(make_project: Callable[[str], None]) -> None:
    base = f"p{os.urandom(4).hex()}"
    projects = [base, f"{base}-b", f"{base}0"]
    for project in projects:
        make_project(project)
        push_image(f"{project}/z")
        push_image(f"{project}/a/b")
    expected = sorted(f"{project}/{name}" for project in projects for name in ("z", "a/b"))
    found, last = [], ""
    while not found or last:
        page = listings.catalog(projects, last, 2)
        found += page.entries
        last = page.next
    assert found == expected


def test_concurrent_pushes_of_one_tag_and_digest_all_succeed(repository: str) -> None:
    config = push_blob(repository, b"{}", CONFIG)
    contents = [image(config, annotations={"n": str(n % 3)}) for n in range(9)]
    failures: list[BaseException] = []

    def work(content: bytes) -> None:
        try:
            push.manifest(repository, "same", content, "")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    final = pull.manifest(repository, "same")
    assert final.content in contents
    assert sum("same" in manifest_table.tags_of(repository, digests.of(c)) for c in set(contents)) == 1
    generations = {e.generation for e in blob_table.edges_onto(config["digest"], repository)}
    records = manifest_table.read_records(repository, [digests.of(c) for c in set(contents)])
    assert generations == {record.generation for record in records.values()}
