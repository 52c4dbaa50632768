"""What is an accessory, of which kind, and what becomes of it with its subject."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from chalicelib.artifacts import repositories as managed
from chalicelib.artifacts import repository_deletion
from chalicelib.oci import accessories, digests, manifests
from chalicelib.oci.errors import ManifestUnknown, Referenced, Unavailable
from chalicelib.registry import deletion, listings, pull, push
from chalicelib.registry.store import artifacts, removals, repositories, standings
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store.blobs import LIVE
from chalicelib.registry.store.standings import Signatures
from tests.registry.accessories import BUNDLE, COSIGN, NOTATION, about, attach, attach_by_tag
from tests.registry.images import CONFIG, descriptor, image, index, push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("cloud")

SUBJECT = digests.of(b"subject")
PREDICATE = "dev.sigstore.bundle.predicateType"


def kind(tag: str | None = None, **more: Any) -> str | None:
    """Harbor's type of a manifest."""
    config = descriptor(b"{}", more.pop("config", CONFIG))
    layer = {**descriptor(b"layer", more.pop("layer", "text/plain")), "annotations": more.pop("on_layer", {})}
    found = accessories.of(manifests.parse(image(config, layer, **more), manifests.OCI_MANIFEST), tag)
    assert found is None or found.subject == SUBJECT
    return found.kind if found else None


def with_subject(**more: Any) -> str | None:
    return kind(subject={"mediaType": manifests.OCI_MANIFEST, "digest": SUBJECT, "size": 1}, **more)


def test_a_subject_makes_an_accessory_and_the_type_its_kind() -> None:
    assert kind() is None
    assert with_subject() == "subject.accessory"
    assert with_subject(artifactType=COSIGN) == "signature.cosign"
    assert with_subject(artifactType=BUNDLE) == "signature.cosign"
    assert with_subject(artifactType=NOTATION) == "signature.notation"
    assert with_subject(config=NOTATION) == "signature.notation"
    assert with_subject(artifactType="application/vnd.goharbor.harbor.sbom.v1") == "sbom.harbor"
    assert with_subject(on_layer={"containerd.io/snapshot/nydus-bootstrap": "true"}) == "accelerator.nydus"
    assert with_subject(artifactType="application/spdx+json") == "subject.accessory"


def test_an_attestation_in_a_bundle_is_no_signature() -> None:
    for predicate, expected in (
        ("https://sigstore.dev/cosign/sign/v1", "signature.cosign"),
        ("https://slsa.dev/provenance/v1", "subject.accessory"),
    ):
        assert with_subject(artifactType=BUNDLE, annotations={PREDICATE: predicate}) == expected


def test_cosigns_tags_make_an_accessory() -> None:
    tag = SUBJECT.replace(":", "-")
    simple_signing = "application/vnd.dev.cosign.simplesigning.v1+json"
    assert kind(f"{tag}.sig", layer=simple_signing) == "signature.cosign"
    assert kind(f"{tag}.sig") is None
    assert kind(f"{tag}.att") == "subject.accessory"
    assert kind(f"{tag}.sbom") == "subject.accessory"
    for other in (tag, f"{tag}.sig2", f"x{tag}.sig", f"{tag[:-1]}.sig"):
        assert kind(other, layer=simple_signing) is None


def found(repository: str) -> tuple[list[str], int, int]:
    """What is listed, how many are said to be, and how many manifests there are."""
    entry = repositories.read(repository)
    assert entry is not None
    listed = [each.digest for each in artifacts.read_all(repository)]
    return listed, entry.artifacts, entry.manifests


def signatures(repository: str, digest: str) -> Signatures:
    [counted] = standings.signatures_of(repository, [digest])
    return counted


def test_accessories_are_counted_and_listed_apart(repository: str) -> None:
    subject, _ = push_image(repository, "v1")
    attached = [attach(repository, subject), attach(repository, subject, NOTATION), attach_by_tag(repository, subject)]
    assert found(repository) == ([subject], 1, 4)
    assert [each.digest for each in artifacts.accessories_of(repository, subject)] == attached
    assert signatures(repository, subject) == Signatures(2, 1)
    deletion.manifest(repository, attached[0])
    assert found(repository) == ([subject], 1, 3)
    assert signatures(repository, subject) == Signatures(1, 1)


def test_the_subject_may_come_later_or_never(repository: str) -> None:
    _, content = push_image(f"{repository}-other", "v1")
    subject = digests.of(content)
    signature = attach_by_tag(repository, subject)
    assert found(repository) == ([], 0, 1)
    assert managed.artifact(repository, signature).accessory == accessories.Accessory(subject, "signature.cosign")
    repository_deletion.delete(repository)
    assert repositories.read(repository) is None


def test_pushing_again_changes_nothing(repository: str) -> None:
    subject, _ = push_image(repository, "v1")
    signature = attach_by_tag(repository, subject)
    pulled = pull.manifest(repository, signature)
    push.manifest(repository, "by-another-name", pulled.content, pulled.media_type)
    assert found(repository) == ([subject], 1, 2)
    assert signatures(repository, subject) == Signatures(1, 0)


def test_what_gets_a_tag_of_cosigns_later_becomes_an_accessory(repository: str) -> None:
    subject, _ = push_image(repository, "v1")
    signature = attach_by_tag(repository, subject)
    pulled = pull.manifest(repository, signature)
    deletion.manifest(repository, signature)
    push.manifest(repository, "plain", pulled.content, pulled.media_type)
    assert found(repository)[1:] == (2, 2)
    push.manifest(repository, f"{subject.replace(':', '-')}.sig", pulled.content, pulled.media_type)
    assert found(repository) == ([subject], 1, 2)
    assert signatures(repository, subject) == Signatures(1, 0)


def test_a_subject_takes_its_accessories_with_it(repository: str) -> None:
    subject, _ = push_image(repository, "v1")
    sbom = attach(repository, subject, "application/spdx+json")
    of_sbom = attach(repository, sbom)
    by_tag = attach_by_tag(repository, subject)
    deletion.manifest(repository, subject)
    for digest in (subject, sbom, of_sbom, by_tag):
        with pytest.raises(ManifestUnknown):
            pull.manifest(repository, digest)
    assert found(repository) == ([], 0, 0)
    assert listings.referrers(repository, subject, "", "", 10).entries == []
    repository_deletion.delete(repository)
    assert repositories.read(repository) is None


def test_a_delete_that_broke_off_is_completed_by_the_next(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, _ = push_image(repository, "v1")
    attached = [attach(repository, subject), attach(repository, subject)]
    real, calls = removals.delete_manifest, []

    def die_at_second(*args: Any) -> bool:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(removals, "delete_manifest", die_at_second)
        with pytest.raises(KeyboardInterrupt):
            deletion.manifest(repository, subject)
    assert pull.manifest(repository, "v1").digest == subject
    deletion.manifest(repository, subject)
    assert found(repository) == ([], 0, 0)
    for digest in attached:
        assert manifest_table.read_record(repository, digest) is None


def test_an_index_that_names_an_accessory_keeps_it_and_its_subject(repository: str) -> None:
    subject, _ = push_image(repository, "v1")
    attestation = attach(repository, subject, "application/spdx+json")
    content = index(pull.manifest(repository, attestation).content)
    parent = push.manifest(repository, "multi", content, manifests.OCI_INDEX).digest
    with pytest.raises(Referenced):
        deletion.manifest(repository, subject)
    assert pull.manifest(repository, subject)
    record = manifest_table.read_record(repository, subject)
    assert record is not None
    assert record.state == "live"
    deletion.manifest(repository, parent)


def test_two_that_are_about_each_other_are_deleted(repository: str) -> None:
    first, content = push_image(repository, "first")
    second, other = push_image(repository, "second")
    push.manifest(repository, f"{second.replace(':', '-')}.att", content, manifests.OCI_MANIFEST)
    push.manifest(repository, f"{first.replace(':', '-')}.att", other, manifests.OCI_MANIFEST)
    assert found(repository) == ([], 0, 2)
    deletion.manifest(repository, first)
    assert found(repository) == ([], 0, 0)


def test_deleting_a_repository_deletes_accessories_too(repository: str) -> None:
    subject, _ = push_image(repository, "v1")
    attach(repository, subject)
    attach(repository, digests.of(os.urandom(8)))
    repository_deletion.delete(repository)
    assert repositories.read(repository) is None


def test_the_protocols_lists_are_as_before(repository: str) -> None:
    subject, _ = push_image(repository, "v1")
    signature = attach(repository, subject)
    attach_by_tag(repository, subject)
    assert listings.tags(repository, "", 10).entries == [f"{subject.replace(':', '-')}.sig", "v1"]
    [entry] = listings.referrers(repository, subject, "", "", 10).entries
    assert entry["digest"] == signature
    assert json.loads(pull.manifest(repository, signature).content)["subject"]["digest"] == subject


def test_the_index_of_the_referrers_tag_goes_with_its_subject_and_before_what_it_names(repository: str) -> None:
    subject, _ = push_image(repository, "v1")
    signature = attach(repository, subject)
    second = attach(repository, signature)
    content = index(*(pull.manifest(repository, each).content for each in (signature, second)))
    listing = push.manifest(repository, accessories.fallback_tag(subject), content, manifests.OCI_INDEX).digest
    deletion.manifest(repository, "v1")
    deletion.manifest(repository, subject)
    assert manifest_table.read_records(repository, [subject, signature, second, listing]) == {}


def test_an_index_of_the_referrers_tag_with_another_name_stays_and_a_refusal_names_it(repository: str) -> None:
    subject, _ = push_image(repository, "v1")
    first, signature = attach(repository, subject), attach(repository, subject)
    content = index(pull.manifest(repository, signature).content)
    for tag in (accessories.fallback_tag(subject), "mine"):
        push.manifest(repository, tag, content, manifests.OCI_INDEX)
    with pytest.raises(Referenced, match="mine"):
        deletion.manifest(repository, subject)
    left = manifest_table.read_records(repository, [subject, first, signature])
    assert {record.state for record in left.values()} == {"live"}
    assert len(left) == 3, "what is refused takes nothing away"
    deletion.manifest(repository, "mine")
    deletion.manifest(repository, subject)
    assert manifest_table.read_records(repository, [subject, first, signature, digests.of(content)]) == {}


def test_an_accessory_that_is_an_index_goes_before_what_it_names(repository: str) -> None:
    subject, _ = push_image(repository, "v1")
    signature = attach(repository, subject)
    content = index(pull.manifest(repository, signature).content, subject=about(subject))
    push.manifest(repository, digests.of(content), content, manifests.OCI_INDEX)
    attach(repository, digests.of(content))
    deletion.manifest(repository, subject)
    assert repositories.read(repository).manifests == 0  # type: ignore[union-attr]


def test_what_is_attached_in_a_chain_goes_with_calls_that_grow_with_its_length(repository: str) -> None:
    counts = []
    for length in (4, 16):
        subject, _ = push_image(repository, "v1")
        last = subject
        for _ in range(length):
            last = attach(repository, last, "application/spdx+json")
        with counted() as calls:
            deletion.manifest(repository, subject)
        counts.append(len(calls))
        assert found(repository) == ([], 0, 0)
    assert counts[1] < 4.5 * counts[0]


def test_a_delete_of_more_than_fits_a_request_ends_in_time_and_the_next_one_goes_on(
    repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, _ = push_image(repository, "v1")
    attach(repository, subject)
    with monkeypatch.context() as patch:
        patch.setattr(deletion, "_REQUEST_SECONDS", -1.0)
        with pytest.raises(Unavailable) as caught:
            deletion.manifest(repository, subject)
    assert caught.value.headers["Retry-After"] == "1"
    record = manifest_table.read_record(repository, subject)
    assert record is not None
    assert record.state == LIVE
    deletion.manifest(repository, subject)
    assert found(repository) == ([], 0, 0)
