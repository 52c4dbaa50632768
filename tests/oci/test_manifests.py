"""Reading manifests: the known types, and input of every bad sort."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.oci import documents, manifests
from chalicelib.oci.errors import DigestInvalid, ManifestInvalid, RegistryError, TooLarge

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
        {"config": None},
        {"layers": {}},
        {"layers": [7]},
        {"layers": [{**descriptor(A), "size": -1}]},
        {"layers": [{**descriptor(A), "size": True}]},
        {"layers": [{**descriptor(A), "size": "3"}]},
        {"layers": [{**descriptor(A), "size": 1 << 70}]},
        {"layers": [{**descriptor(A), "mediaType": 7}]},
        {"layers": [{**descriptor(A), "mediaType": "a\nb"}]},
        {"layers": [{**descriptor(A), "mediaType": "a/" + "b" * 254}]},
        {"layers": [{**descriptor(A), "size": 3.0}]},
        {"layers": [{**descriptor(A), "annotations": 7}]},
        {"layers": [{**descriptor(A), "annotations": {"a": {}}}]},
        {"layers": [{**descriptor(A), "urls": "https://example.com"}]},
        {"layers": [{**descriptor(A), "urls": [7]}]},
        {"layers": [{**descriptor(A), "platform": "linux/amd64"}]},
        {"schemaVersion": 2.0},
        {"manifests": []},
        {"manifests": [descriptor(A)]},
        {"fsLayers": []},
        {"annotations": {"a": "\ud800"}},
        {"annotations": {"a": "\ud83d\\\ude00"}},
        {"annotations": {"a": "\ud83d\ud83d\ude00\ude00"}},
        {"annotations": {"a": "\\\ude00"}},
        {"other": {"\udfff": 1}},
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


@pytest.mark.parametrize(
    "change",
    [
        {"config": descriptor(A, "text/plain; charset=utf-8")},
        {"config": {**descriptor(A), "mediaType": ""}},
        {"layers": ...},
        {"layers": None},
        {"layers": [descriptor(B, "text/plain; charset=utf-8")]},
        {"layers": [descriptor(B, "")]},
        {"layers": [descriptor(B, "no-slash, of any kind")]},
        {"layers": [{"digest": B}]},
        {"layers": [{"digest": B, "mediaType": None, "size": None, "annotations": None, "urls": None}]},
        {"layers": [descriptor(B)] * 3000},
        {"artifactType": "text/plain; charset=utf-8"},
        {"annotations": {"a": None}},
        {"annotations": {"A": "1", "a": "2", "Layers": "3"}},
        {"layers": [descriptor(B, annotations={"Digest": "1"})]},
        {"manifests": None, "fsLayers": None},
        {"unknown": {"Layers": 1, "\ud83d\ude00": "\ud83d\ude00", "a": "\\ud800 \u00e9"}},
    ],
    ids=lambda change: repr(change)[:80],
)
def test_what_distribution_takes_is_taken(change: dict[str, Any]) -> None:
    """Each was pushed to docker-registry 2.8.2."""
    parsed = read(image(**change))
    assert A in parsed.blobs
    assert all(isinstance(each["mediaType"], str) for each in parsed.document.get("layers") or [])
    assert all(isinstance(each["size"], int) for each in parsed.document.get("layers") or [])


@pytest.mark.parametrize("pushed", [manifests.OCI_MANIFEST.upper(), f"{manifests.OCI_MANIFEST}; charset=utf-8", ""])
@pytest.mark.parametrize("named", [manifests.OCI_MANIFEST, manifests.OCI_MANIFEST.title(), None])
def test_media_types_are_compared_without_case(pushed: str, named: str | None) -> None:
    if pushed or named:
        assert read(image(mediaType=named), pushed).media_type == manifests.OCI_MANIFEST


INDEX = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": [descriptor(A)]}


@pytest.mark.parametrize("more", [{"config": descriptor(B)}, {"layers": []}, {"fsLayers": []}, {"schemaVersion": 1}])
@pytest.mark.parametrize("media_type", [manifests.OCI_INDEX, manifests.DOCKER_LIST, "application/vnd.example+json"])
def test_an_index_is_nothing_else(media_type: str, more: dict[str, Any]) -> None:
    if "example" in media_type and "schemaVersion" in more:
        return
    with pytest.raises(ManifestInvalid):
        read({**INDEX, "mediaType": media_type, **more})


@pytest.mark.parametrize("media_type", [manifests.OCI_INDEX, manifests.DOCKER_LIST])
def test_an_index_has_no_layers(media_type: str) -> None:
    with pytest.raises(ManifestInvalid):
        read({"schemaVersion": 2, "mediaType": media_type, "layers": []})


@pytest.mark.parametrize("name", ["", "no-slash", "text/plain; charset=utf-8"])
def test_an_index_may_name_what_has_any_type(name: str) -> None:
    assert read({**INDEX, "manifests": [descriptor(A, name), {"digest": B}]}).children == (A, B)


def test_an_index_may_lack_layers_that_may_not_be_distributed() -> None:
    foreign = descriptor(B, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    parsed = read({**INDEX, "manifests": [descriptor(A), foreign]})
    assert (parsed.children, parsed.optional_blobs, parsed.references) == ((A,), (B,), (B, A))


@pytest.mark.parametrize(
    "key", ["Layers", "CONFIG", "layer\u017f", "\u017fubject", "MANIFESTS", "mediatype", "FSLAYERS"]
)
def test_a_key_that_is_a_known_one_but_for_its_case_is_refused(key: str) -> None:
    """Go's readers (docker, containerd, distribution) take the last of `layers` and `Layers`; others the exact one."""
    for extra in (descriptor(B), [descriptor(B)], None):
        with pytest.raises(ManifestInvalid, match="some readers"):
            read({**image(), key: extra})


@pytest.mark.parametrize("key", ["Digest", "URLS", "url\u017f", "MediaType", "\u017fize", "Annotations", "Platform"])
@pytest.mark.parametrize("where", ["config", "layers", "subject", "manifests", "blobs"])
def test_so_it_is_in_a_descriptor(where: str, key: str) -> None:
    odd = {**descriptor(A), key: B}
    document = {"schemaVersion": 2, where: odd if where in ("config", "subject") else [odd]}
    with pytest.raises(ManifestInvalid, match="some readers"):
        read(document, "application/vnd.example+json")


def test_so_it_is_in_a_platform() -> None:
    odd = descriptor(A, platform={"os": "linux", "OS": "windows"})
    with pytest.raises(ManifestInvalid, match="some readers"):
        read({**INDEX, "manifests": [odd]})


def test_what_was_taken_in_by_older_rules_is_read() -> None:
    for document in ({**image(), "Layers": []}, {**image(), "manifests": [descriptor(C)]}, image(config=None)):
        parsed = manifests.stored(json.dumps(document).encode(), manifests.OCI_MANIFEST)
        assert parsed.references[-1] == C


@pytest.mark.parametrize("levels", [documents.DEPTH_LIMIT - 2, documents.DEPTH_LIMIT, 900])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_the_depth_is_limited_whatever_the_caller(levels: int, pair: str) -> None:
    """Else what a push just reads could be too deep for the delete, or the collector, which reads it elsewhere."""
    opening, closing = ("[", "]") if pair == "[]" else ('{"]]\\"[":', "}")
    content = json.dumps(image())[:-1] + f', "x": {opening * levels}1{closing * levels}' + "}"
    if levels < documents.DEPTH_LIMIT:
        manifests.parse(content.encode(), "")
        return
    with pytest.raises(ManifestInvalid, match="deep"):
        manifests.parse(content.encode(), "")


def test_the_entries_of_a_manifest_are_limited() -> None:
    with pytest.raises(ManifestInvalid, match="descriptors"):
        read(image(layers=[descriptor(B)] * (manifests.ENTRY_LIMIT + 1)))
    with pytest.raises(ManifestInvalid, match="may name"):
        read(image(layers=[descriptor(f"sha256:{number:064x}") for number in range(manifests.REFERENCE_LIMIT + 1)]))


def _filled(start: bytes, unit: bytes, end: bytes) -> bytes:
    return start + unit * ((manifests.SIZE_LIMIT - len(start) - len(end)) // len(unit)) + end


_LAYER = json.dumps(descriptor(B)).encode()
_URLS = json.dumps(descriptor(B, urls=["u"])).encode()
_LARGE = {
    "layers twice": b'{"layers":[' + b",".join([_LAYER] * 12_000 + [_URLS] * 12_000) + b"]}",
    "objects": _filled(b'{"x":[{}', b",{}", b"]}"),
    "lists": _filled(b'{"x":[[]', b",[]", b"]}"),
    "strings": _filled(b'{"x":[""', b',""', b"]}"),
    "escapes": _filled(b'{"x":"', b"\\u0041", b'"}'),
    "quotes": _filled(b'{"x":"', b'\\"', b'"}'),
    "surrogates": _filled(b'{"x":[{},"', b"\\ud83d\\ude00", b'"]}'),
    "no end": _filled(b'{"x":"', b'\\"', b""),
    "brackets": _filled(b'{"x":"', b"[{", b'"}'),
    "digits": _filled(b'{"x":0.', b"1", b"}"),
    "numbers": _filled(b'{"x":[1', b"," + b"9" * 4299, b"]}"),
    "keys": b'{"config":{' + b",".join(b'"%d":1' % number for number in range(380_000)) + b"}}",
    "open": b"[" * manifests.SIZE_LIMIT,
    "media type": _filled(b'{"config":{"digest":"' + A.encode() + b'","mediaType":".', b"foreign", b'"}}'),
}


@pytest.mark.parametrize("content", _LARGE.values(), ids=_LARGE)
def test_no_manifest_takes_long_to_read(content: bytes) -> None:
    """The largest of each sort takes half a second; what is read in quadratic time takes many."""
    assert len(content) <= manifests.SIZE_LIMIT
    started = time.process_time()
    for read in (manifests.parse, manifests.stored):
        with contextlib.suppress(RegistryError):
            read(content, "application/vnd.example+json")
    assert time.process_time() - started < 5


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
