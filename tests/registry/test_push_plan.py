"""What a push decides by what it has read, without a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import ManifestBlobUnknown, ManifestInvalid, PreconditionFailed, QuotaExceeded
from chalicelib.projects.records import UNLIMITED, Project
from chalicelib.projects.store.usage import SHARDS, Charge, Total
from chalicelib.registry import charges, push_plan
from chalicelib.registry.preconditions import NONE, Preconditions
from chalicelib.registry.push_view import View, Wanted
from chalicelib.registry.store.blobs import CONDEMNED, DELETING, LIVE, Blob, Link
from chalicelib.registry.store.manifests import Record, Tag
from tests.registry.images import CONFIG, descriptor, image, index

NOW = 1_800_000_000_000
REPOSITORY = "p/app"
PROJECT = Project("p", 7, False, "admin", 1, 0, 0, "v", {}, 1)
CONFIG_BYTES, LAYER = b"{}", b"layer"
IMAGE = image(descriptor(CONFIG_BYTES, CONFIG), descriptor(LAYER))


def wanted(content: bytes = IMAGE, tags: tuple[str, ...] = ("v1",), preconditions: Preconditions = NONE) -> Wanted:
    media_type = manifests.OCI_INDEX if b'"manifests"' in content else manifests.OCI_MANIFEST
    parsed = manifests.parse(content, media_type)
    return Wanted(REPOSITORY, digests.of(content), tags, parsed, preconditions, is_by_tag=bool(tags))


def view(*contents: bytes, **more: Any) -> View:
    """What is read when the repository has blobs of these contents, and nothing else."""
    blobs = {digests.of(each): Blob(digests.of(each), "key", len(each), LIVE, "v", None) for each in contents}
    links = {digest: Link(REPOSITORY, digest, "key", LIVE, "v", uploaded=True) for digest in blobs}
    nothing: dict[str, Any] = {"children": {}, "current": None, "tags": {}, "charges": {}, "totals": ()}
    flags = {"repository_known": True, "is_project_same": True, "time": NOW}
    return View(**{"blobs": blobs, "links": links, **nothing, **flags, **more})


def record(digest: str, state: str = LIVE, media_type: str = manifests.OCI_MANIFEST) -> Record:
    return Record(REPOSITORY, digest, media_type, 1, "generation", "v", state, NOW, None, NOW)


SEEN = view(CONFIG_BYTES, LAYER)
_LAYER = digests.of(LAYER)


def test_what_is_there_and_quiet_is_committed_without_another_write() -> None:
    plan = push_plan.decide(PROJECT, wanted(), SEEN)
    assert (plan.blobs, plan.links, plan.children, plan.freeing, plan.moved) == ([], [], [], [], [])
    assert plan.charges == {_LAYER: 5, digests.of(CONFIG_BYTES): 2, digests.of(IMAGE): len(IMAGE)}
    assert plan.uploaded == {_LAYER, digests.of(CONFIG_BYTES)}
    assert plan.is_charged_with_commit


@pytest.mark.parametrize("there", [(), (LAYER,), (CONFIG_BYTES,)])
def test_what_is_missing_is_named(there: tuple[bytes, ...]) -> None:
    with pytest.raises(ManifestBlobUnknown) as caught:
        push_plan.decide(PROJECT, wanted(), view(*there))
    missing = {digests.of(each) for each in (LAYER, CONFIG_BYTES)} - {digests.of(each) for each in there}
    assert {each["digest"] for each in caught.value.detail} == missing  # type: ignore[union-attr, attr-defined]


def test_a_link_to_an_object_that_was_replaced_serves_nothing() -> None:
    stale = {**SEEN.links, _LAYER: replace(SEEN.links[_LAYER], object_key="another")}
    with pytest.raises(ManifestBlobUnknown):
        push_plan.decide(PROJECT, wanted(), replace(SEEN, links=stale))


def test_a_proxy_project_takes_what_comes_later_and_is_charged_for_what_is_there() -> None:
    plan = push_plan.decide(replace(PROJECT, registry_id=3), wanted(), view(CONFIG_BYTES))
    assert set(plan.charges) == {digests.of(CONFIG_BYTES), digests.of(IMAGE)}


@pytest.mark.parametrize(
    ("change", "is_rescued"),
    [
        ({"state": CONDEMNED}, True),
        ({"candidate_since": NOW - 365 * 86_400_000}, True),
        ({"candidate_since": NOW - 1}, False),
    ],
)
def test_a_blob_that_the_collector_has_or_may_have_soon_is_rescued(change: dict[str, Any], is_rescued: bool) -> None:
    blob = replace(SEEN.blobs[_LAYER], **change)
    plan = push_plan.decide(PROJECT, wanted(), replace(SEEN, blobs={**SEEN.blobs, _LAYER: blob}))
    assert plan.blobs == ([blob] if is_rescued else [])


def test_what_a_delete_has_marked_is_rescued() -> None:
    link = replace(SEEN.links[_LAYER], state=DELETING)
    charge = Charge(_LAYER, 5, "v", freeing=True)
    seen = replace(SEEN, links={**SEEN.links, _LAYER: link}, charges={_LAYER: charge})
    plan = push_plan.decide(PROJECT, wanted(), seen)
    assert (plan.links, plan.freeing) == ([link], [_LAYER])
    assert _LAYER not in plan.charges, "it is charged for: the charge is kept"
    child = record(digests.of(IMAGE), DELETING)
    plan = push_plan.decide(PROJECT, wanted(index(IMAGE)), view(children={child.digest: child}))
    assert plan.children == [child]


def test_a_full_project_takes_no_more() -> None:
    full = replace(PROJECT, storage_limit=100)
    totals = tuple(Total(shard, used=10, room=0) for shard in range(SHARDS))
    with pytest.raises(QuotaExceeded):
        push_plan.decide(full, wanted(), replace(SEEN, totals=totals))
    charged = {each: Charge(each, 1, "v", freeing=False) for each in (*SEEN.blobs, digests.of(IMAGE))}
    assert push_plan.decide(full, wanted(), replace(SEEN, totals=totals, charges=charged)).charges == {}
    assert push_plan.decide(replace(full, storage_limit=UNLIMITED), wanted(), SEEN).charges


def test_more_new_digests_than_a_transaction_takes_are_charged_ahead() -> None:
    layers = [f"layer {number}".encode() for number in range(charges.MAX_PER_TRANSACTION)]
    content = image(descriptor(CONFIG_BYTES, CONFIG), *(descriptor(each) for each in layers))
    assert not push_plan.decide(PROJECT, wanted(content), view(CONFIG_BYTES, *layers)).is_charged_with_commit
    few = image(descriptor(CONFIG_BYTES, CONFIG), *(descriptor(each) for each in layers[:-2]))
    assert push_plan.decide(PROJECT, wanted(few), view(CONFIG_BYTES, *layers)).is_charged_with_commit


def test_a_tag_of_another_manifest_is_moved() -> None:
    tags = {"v1": Tag("v1", "sha256:" + "0" * 64, manifests.OCI_MANIFEST)}
    assert push_plan.decide(PROJECT, wanted(), replace(SEEN, tags=tags)).moved == ["v1"]
    own = {"v1": Tag("v1", digests.of(IMAGE), manifests.OCI_MANIFEST)}
    assert push_plan.decide(PROJECT, wanted(), replace(SEEN, tags=own)).moved == []


def test_conditions_and_types_are_those_of_what_is_there() -> None:
    new = Preconditions(none_match=frozenset({"*"}))
    push_plan.decide(PROJECT, wanted(preconditions=new), SEEN)
    tags = {"v1": Tag("v1", digests.of(IMAGE), manifests.OCI_MANIFEST)}
    with pytest.raises(PreconditionFailed):
        push_plan.decide(PROJECT, wanted(preconditions=new), replace(SEEN, tags=tags))
    docker = record(digests.of(IMAGE), media_type="application/vnd.docker.distribution.manifest.v2+json")
    with pytest.raises(ManifestInvalid):
        push_plan.decide(PROJECT, wanted(), replace(SEEN, current=docker))
