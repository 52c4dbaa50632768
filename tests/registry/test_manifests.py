"""Reading manifests: the known types, and input of every bad sort."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.registry import manifests
from chalicelib.registry.errors import DigestInvalid, ManifestInvalid, RegistryError, TooLarge

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def descriptor(
    digest: str, media_type: str = "application/vnd.oci.image.layer.v1.tar+gzip", **more: Any
) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": 3, **more}


def image(**changes: Any) -> dict[str, Any]:
    document = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_MANIFEST,
        "config": descriptor(A, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(B), descriptor(C), descriptor(B)],
    }
    return {name: value for name, value in {**document, **changes}.items() if value is not ...}


def read(document: Any, content_type: str = "") -> manifests.Manifest:
    return manifests.parse(json.dumps(document).encode(), content_type)


def test_an_image_names_its_blobs_once() -> None:
    assert read(image()).blobs == (A, B, C)


def test_a_layer_with_urls_may_be_absent() -> None:
    foreign = descriptor(C, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    parsed = read(image(layers=[descriptor(B, urls=["https://example.com/x"]), foreign]))
    assert (parsed.blobs, parsed.optional_blobs) == ((A,), (B, C))


def test_an_index_names_its_children() -> None:
    index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": [descriptor(A, manifests.OCI_MANIFEST)]}
    assert read(index).children == (A,)


def test_a_subject_and_an_artifact_type_make_a_referrer() -> None:
    parsed = read(image(subject=descriptor(C), artifactType="text/sbom", annotations={"k": "v"}))
    assert parsed.subject == C
    assert parsed.descriptor(A) == {
        "mediaType": manifests.OCI_MANIFEST,
        "digest": A,
        "size": len(parsed.content),
        "artifactType": "text/sbom",
        "annotations": {"k": "v"},
    }


def test_the_config_type_stands_in_for_a_missing_artifact_type() -> None:
    assert read(image(subject=descriptor(C))).artifact_type == "application/vnd.oci.image.config.v1+json"


def test_an_unknown_media_type_is_kept_and_its_references_found() -> None:
    parsed = read({"blobs": [descriptor(A)]}, "application/vnd.example+json; charset=utf-8")
    assert (parsed.media_type, parsed.blobs) == ("application/vnd.example+json", (A,))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe{}",
        b'{"a": NaN}',
        b'{"schemaVersion": 2, "schemaVersion": 2}',
        b'{"a": {"b": 1, "b": 2}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
        b'{"mediaType": "' + manifests.OCI_MANIFEST.encode() + b'"}',
    ],
    ids=lambda content: repr(content[:24]),
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        manifests.parse(content, "")


@pytest.mark.parametrize(
    "change",
    [
        {"schemaVersion": 1},
        {"schemaVersion": ...},
        {"mediaType": 7},
        {"mediaType": "no type"},
        {"config": ...},
        {"config": []},
        {"layers": ...},
        {"layers": {}},
        {"layers": [7]},
        {"layers": [{**descriptor(A), "size": -1}]},
        {"layers": [{**descriptor(A), "size": True}]},
        {"layers": [{**descriptor(A), "size": "3"}]},
        {"layers": [{**descriptor(A), "size": 1 << 70}]},
        {"layers": [{**descriptor(A), "mediaType": "x"}]},
        {"subject": "text"},
        {"annotations": {"a": 1}},
        {"annotations": []},
        {"artifactType": "not a type\r\nX: y"},
        {"subject": descriptor(A), "annotations": {"a": "x" * 300_000}},
    ],
    ids=repr,
)
def test_a_broken_image_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ManifestInvalid):
        read(image(**change))


@pytest.mark.parametrize("digest", [None, 7, "", "sha256:short", "../../x"])
def test_a_malformed_digest_is_refused(digest: Any) -> None:
    with pytest.raises(DigestInvalid):
        read(image(layers=[{**descriptor(A), "digest": digest}]))


def test_the_pushed_type_and_the_named_type_must_agree() -> None:
    with pytest.raises(ManifestInvalid, match="mediaType"):
        read(image(), manifests.DOCKER_MANIFEST)


def test_schema_1_is_refused_with_advice() -> None:
    with pytest.raises(ManifestInvalid, match="schema 1"):
        read({"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws")


def test_a_manifest_over_4_mib_is_refused() -> None:
    with pytest.raises(TooLarge):
        manifests.parse(b" " * (manifests.SIZE_LIMIT + 1), "")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(A),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "schemaVersion",
                    "mediaType",
                    "config",
                    "layers",
                    "manifests",
                    "blobs",
                    "subject",
                    "digest",
                    "size",
                    "urls",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_json, st.sampled_from(["", manifests.OCI_MANIFEST, manifests.OCI_INDEX, "a/b", "\x00"]))
def test_any_json_is_read_or_refused(document: Any, content_type: str) -> None:
    try:
        read(document, content_type)
    except RegistryError as error:
        assert 400 <= error.status < 500


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        manifests.parse(content, manifests.OCI_MANIFEST)
    except RegistryError as error:
        assert 400 <= error.status < 500
