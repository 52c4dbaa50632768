"""Reading a manifest: its media type, what it refers to, and its entry in the referrers list.

Sources: OCI image-spec 1.1 (manifest.md, image-index.md), Docker's image manifest v2 schema 2, distribution-spec 1.1
"Pushing Manifests". A media type that Berth does not know is accepted when it is well formed: descriptors are then
looked for where the known types have them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from chalicelib.registry import digests
from chalicelib.registry.errors import DigestInvalid, ManifestInvalid, TooLarge

SIZE_LIMIT = 4 * 1024 * 1024
"""Bytes a manifest may have (distribution-spec: registries should take at least 4 MiB)."""

REFERENCE_LIMIT = 2000
"""Blobs and manifests that a manifest may name: each has an edge to write, and the gateway waits 30 seconds."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

_REQUIRED = {
    OCI_MANIFEST: ("config", "layers"),
    DOCKER_MANIFEST: ("config", "layers"),
    OCI_INDEX: ("manifests",),
    DOCKER_LIST: ("manifests",),
    OCI_ARTIFACT: (),
}
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_ABSENT_ALLOWED = re.compile(r".*(\.nondistributable\.|\.foreign\.)")
_ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes of annotations that fit a referrers entry beside its other fields (DynamoDB: 400 KB an item)."""

# RFC 6838 section 4.2: restricted names of at most 127 characters.
_RESTRICTED = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"{_RESTRICTED}/{_RESTRICTED}\Z")


@dataclass(frozen=True)
class Manifest:
    """What a manifest says. `blobs` must be in the repository, `optional_blobs` may be, `children` are manifests."""

    media_type: str
    content: bytes
    blobs: tuple[str, ...]
    optional_blobs: tuple[str, ...]
    children: tuple[str, ...]
    subject: str | None
    artifact_type: str | None
    annotations: dict[str, str]
    document: dict[str, Any] = field(repr=False)
    """The manifest itself, read."""

    @property
    def references(self) -> tuple[str, ...]:
        """Every blob, required or not."""
        return self.blobs + self.optional_blobs

    def descriptor(self, digest: str) -> dict[str, Any]:
        """The manifest's entry in the referrers list of its subject (distribution-spec, "Listing Referrers")."""
        entry: dict[str, Any] = {"mediaType": self.media_type, "digest": digest, "size": len(self.content)}
        if self.artifact_type:
            entry["artifactType"] = self.artifact_type
        if self.annotations:
            entry["annotations"] = self.annotations
        return entry


def is_media_type(text: str) -> bool:
    return _MEDIA_TYPE.match(text) is not None


def parse(content: bytes, content_type: str) -> Manifest:
    """Read a manifest that a client pushed as `content_type` (may be empty).

    Raises ManifestInvalid, TooLarge for one over 4 MiB (distribution-spec: 413), or DigestInvalid for a malformed
    digest in it.
    """
    if len(content) > SIZE_LIMIT:
        raise TooLarge(f"a manifest may have {SIZE_LIMIT} bytes, this one has {len(content)}")
    document = _parse_json(content)
    media_type = _media_type(document, content_type)
    for name in _REQUIRED.get(media_type, ()):
        if name not in document:
            _refuse(f"{media_type} needs {name!r}")
    if media_type in _REQUIRED and media_type != OCI_ARTIFACT and document.get("schemaVersion") != 2:
        _refuse("schemaVersion must be 2")
    required, optional = _blobs(document)
    children = _unique(_digest(entry, "manifests") for entry in _list(document, "manifests"))
    if len(required) + len(optional) + len(children) > REFERENCE_LIMIT:
        _refuse(f"a manifest may name {REFERENCE_LIMIT} blobs and manifests")
    subject = document.get("subject")
    annotations = _annotations(document)
    config = document.get("config")
    config_type = config["mediaType"] if isinstance(config, dict) else None
    return Manifest(
        media_type=media_type,
        content=content,
        blobs=required,
        optional_blobs=optional,
        children=children,
        subject=None if subject is None else _digest(subject, "subject"),
        artifact_type=_artifact_type(document) or config_type,
        annotations=annotations,
        document=document,
    )


def _parse_json(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
    except UnicodeDecodeError:
        _refuse("a manifest is UTF-8")
    except RecursionError:
        _refuse("the JSON is nested too deep")
    except ValueError as error:
        _refuse(f"not JSON: {error}")
    if not isinstance(document, dict):
        _refuse("a manifest is a JSON object")
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: two readers could take two manifests from the same digest."""
    result = dict(pairs)
    if len(result) != len(pairs):
        _refuse("a key stands twice in one JSON object")
    return result


def _no_constants(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON")


def _media_type(document: dict[str, Any], content_type: str) -> str:
    """The type the client pushed as, else the one the document names; they must not differ (image-spec)."""
    pushed = content_type.partition(";")[0].strip()
    named = document.get("mediaType")
    if named is not None and not isinstance(named, str):
        _refuse("mediaType must be a string")
    media_type = pushed or named or ""
    if not is_media_type(media_type):
        _refuse(f"{media_type[:160]!r} is not a media type: send Content-Type or mediaType")
    if named and named != media_type:
        _refuse(f"pushed as {media_type}, but its mediaType is {named[:160]}")
    if media_type.startswith(_SCHEMA_1):
        _refuse("Docker image manifest version 2, schema 1 is not supported: push the image with a current client")
    return media_type


def _blobs(document: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The digests of config, layers and blobs: those that must exist, and those that may be held elsewhere."""
    required: list[str] = []
    optional: list[str] = []
    entries = [("config", document["config"])] if document.get("config") is not None else []
    entries += [(name, entry) for name in ("layers", "blobs") for entry in _list(document, name)]
    for name, entry in entries:
        digest = _digest(entry, name)
        elsewhere = name != "config" and (entry.get("urls") or _ABSENT_ALLOWED.match(entry["mediaType"]))
        (optional if elsewhere else required).append(digest)
    return _unique(required), _unique(digest for digest in optional if digest not in required)


def _list(document: dict[str, Any], name: str) -> list[Any]:
    entries = document.get(name)
    if entries is None:
        return []
    if not isinstance(entries, list):
        _refuse(f"{name} must be a list")
    return entries


def _digest(descriptor: Any, where: str) -> str:
    """Check a descriptor's required fields (image-spec descriptor.md) and return its digest."""
    if not isinstance(descriptor, dict):
        _refuse(f"{where}: a descriptor is a JSON object")
    media_type, size, digest = (descriptor.get(name) for name in ("mediaType", "size", "digest"))
    if not isinstance(media_type, str) or not is_media_type(media_type):
        _refuse(f"{where}: the descriptor's mediaType is missing or malformed")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        _refuse(f"{where}: the descriptor's size must be a number of bytes")
    if not isinstance(digest, str):
        raise DigestInvalid(f"{where}: the descriptor has no digest")
    return digests.parse(digest)


def _artifact_type(document: dict[str, Any]) -> str | None:
    artifact_type = document.get("artifactType")
    if artifact_type in (None, ""):
        return None
    if not isinstance(artifact_type, str) or not is_media_type(artifact_type):
        _refuse("artifactType must be a media type")
    return artifact_type


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    annotations = document.get("annotations")
    if annotations is None:
        return {}
    if not isinstance(annotations, dict) or not all(isinstance(value, str) for value in annotations.values()):
        _refuse("annotations must map strings to strings")
    if document.get("subject") is not None and len(json.dumps(annotations)) > _ANNOTATIONS_LIMIT:
        _refuse(f"the annotations of a manifest with a subject may have {_ANNOTATIONS_LIMIT} bytes")
    return annotations


def _unique(digests_found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(digests_found))


def _refuse(message: str) -> NoReturn:
    raise ManifestInvalid(message)
