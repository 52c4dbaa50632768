"""Reading a manifest: its media type, what it refers to, and its entry in the referrers list.

Sources: OCI image-spec 1.1 (manifest.md, image-index.md), Docker's image manifest v2 schema 2, distribution-spec 1.1
"Pushing Manifests". A media type that Berth does not know is accepted when it is well formed: descriptors are then
looked for where the known types have them. Of descriptors what `distribution` takes is taken: without a media type or
a size, which its own type leaves out when they are empty, and with types that RFC 6838 does not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from chalicelib.oci import digests, documents
from chalicelib.oci.documents import refuse
from chalicelib.oci.errors import DigestInvalid, TooLarge

SIZE_LIMIT = 4 * 1024 * 1024
"""Bytes a manifest may have (distribution-spec: registries should take at least 4 MiB)."""

REFERENCE_LIMIT = 2000
"""Blobs and manifests that a manifest may name: each has an edge to write, and the gateway waits 30 seconds."""

ENTRY_LIMIT = 10_000
"""Descriptors that a manifest may have: of one blob there may be several, as of a layer that is there twice."""

TYPE_LENGTH = 255
"""Bytes of a media type: RFC 6838 (section 4.2) allows as many, and a referrer's is a part of its key."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

KNOWN_TYPES = frozenset({OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, DOCKER_MANIFEST, DOCKER_LIST})
_IMAGES, INDEXES = (OCI_MANIFEST, DOCKER_MANIFEST), (OCI_INDEX, DOCKER_LIST)
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_ABSENT_ALLOWED = re.compile(r"\.nondistributable\.|\.foreign\.")
_LISTS = ("layers", "blobs", "manifests")
_KINDS = (("manifests",), ("config", "layers"), ("fsLayers",))
"""What only an index has, only a manifest, and only one of schema 1."""

_DOCUMENT_KEYS = documents.by_folded(
    ("schemaVersion", "mediaType", "artifactType", "config", *_LISTS, "subject", "annotations", "fsLayers")
)
_DESCRIPTOR_KEYS = documents.by_folded(
    ("mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform")
)
_PLATFORM_KEYS = documents.by_folded(("architecture", "os", "os.version", "os.features", "variant", "features"))

_ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes of annotations that fit a referrers entry beside its other fields (DynamoDB: 400 KB an item)."""

# RFC 6838 section 4.2: restricted names of at most 127 characters.
_RESTRICTED = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"{_RESTRICTED}/{_RESTRICTED}\Z")


@dataclass(frozen=True)
class Manifest:
    """What a manifest says. `blobs` must be in the repository, `optional_blobs` may be.

    `children` are what an index names: each a manifest of the repository, or a blob, or both.
    """

    media_type: str
    content: bytes
    blobs: tuple[str, ...]
    optional_blobs: tuple[str, ...]
    children: tuple[str, ...]
    subject: str | None
    artifact_type: str | None
    annotations: dict[str, str]
    document: dict[str, Any] = field(repr=False)
    """The manifest itself, read. Each descriptor in it has a mediaType and a size, empty and 0 where it had none."""

    @property
    def references(self) -> tuple[str, ...]:
        """Every digest that a blob may have, required or not: what an index names among them."""
        return _unique((*self.blobs, *self.optional_blobs, *self.children))

    def descriptor(self, digest: str) -> dict[str, Any]:
        """The manifest's entry in the referrers list of its subject (distribution-spec, "Listing Referrers")."""
        entry: dict[str, Any] = {"mediaType": self.media_type, "digest": digest, "size": len(self.content)}
        if self.artifact_type:
            entry["artifactType"] = self.artifact_type
        if self.annotations:
            entry["annotations"] = self.annotations
        return entry


def is_media_type(text: str) -> bool:
    """Whether `text` is a media type by RFC 6838, as a manifest's own must be: it is sent as a header."""
    return _MEDIA_TYPE.match(text) is not None


def is_type(text: str) -> bool:
    """Whether a descriptor or an artifact may have `text` as its type.

    Clients send types with parameters (`text/plain; charset=utf-8`) and without a slash, and registries take them.
    """
    return text.isprintable() and len(text.encode("utf-8", "replace")) <= TYPE_LENGTH


def parse(content: bytes, content_type: str) -> Manifest:
    """Read a manifest that a client pushed as `content_type` (may be empty).

    Raises ManifestInvalid, TooLarge for one over 4 MiB (distribution-spec: 413), or DigestInvalid for a malformed
    digest in it.
    """
    if len(content) > SIZE_LIMIT:
        raise TooLarge(f"a manifest may have {SIZE_LIMIT} bytes, this one has {len(content)}")
    document = documents.read(content)
    documents.require_one_case(document, _DOCUMENT_KEYS, "manifest")
    media_type = _media_type(document, content_type)
    _require_one_kind(document, media_type)
    if sum(len(_list(document, name)) for name in _LISTS) > ENTRY_LIMIT:
        refuse(f"a manifest may have {ENTRY_LIMIT} descriptors")
    manifest = _manifest(document, media_type, content)
    for where, descriptor in _descriptors(document):
        _require_plain(descriptor, where)
    if len(manifest.references) > REFERENCE_LIMIT:
        refuse(f"a manifest may name {REFERENCE_LIMIT} blobs and manifests")
    return manifest


def stored(content: bytes, media_type: str) -> Manifest:
    """Read a manifest that the registry has, by whatever rules it was taken in: it must be possible to delete it.

    Raises as `parse` does for what no rules have allowed.
    """
    return _manifest(documents.read_stored(content), media_type, content)


def _manifest(document: dict[str, Any], media_type: str, content: bytes) -> Manifest:
    required, optional, children = dict[str, None](), dict[str, None](), dict[str, None]()
    for where, descriptor in _descriptors(document):
        digest = _digest(descriptor, where)
        is_distributable = _ABSENT_ALLOWED.search(descriptor["mediaType"]) is None
        if where == "config":
            required[digest] = None
        elif where == "manifests" and is_distributable:
            children[digest] = None
        elif where != "subject":
            (required if is_distributable and not descriptor.get("urls") else optional)[digest] = None
    subject, config = document.get("subject"), document.get("config")
    return Manifest(
        media_type=media_type,
        content=content,
        blobs=tuple(required),
        optional_blobs=tuple(digest for digest in optional if digest not in required),
        children=tuple(children),
        subject=subject["digest"] if subject is not None else None,
        artifact_type=_artifact_type(document) or (config["mediaType"] or None if config is not None else None),
        annotations=_annotations(document),
        document=document,
    )


def _media_type(document: dict[str, Any], content_type: str) -> str:
    """The type the client pushed as, else the one the document names; they must not differ (image-spec).

    Types are compared without case (RFC 9110, section 8.3.1), and a known one is given as everybody writes it.
    """
    pushed = content_type.partition(";")[0].strip()
    named = document.get("mediaType")
    if named is not None and not isinstance(named, str):
        refuse("mediaType must be a string")
    media_type = named or pushed
    if not is_media_type(media_type):
        refuse(f"{media_type[:160]!r} is not a media type: send Content-Type or mediaType")
    if pushed and pushed.lower() != media_type.lower():
        refuse(f"pushed as {pushed[:160]}, but its mediaType is {media_type}")
    if media_type.lower().startswith(_SCHEMA_1):
        refuse("Docker image manifest version 2, schema 1 is not supported: push the image with a current client")
    return media_type.lower() if media_type.lower() in KNOWN_TYPES else media_type


def _require_one_kind(document: dict[str, Any], media_type: str) -> None:
    """Refuse what is a manifest to one reader and an index to another (`distribution` does, for CVE-2021-41190)."""
    kinds = [names for names in _KINDS if any(document.get(name) is not None for name in names)]
    if len(kinds) > 1:
        refuse(f"a manifest has no {kinds[-1][0]} beside {' or '.join(kinds[0])}")
    if media_type in _IMAGES and document.get("config") is None:
        refuse(f"{media_type} needs 'config'")
    if media_type in INDEXES and kinds not in ([], [_KINDS[0]]):
        refuse(f"{media_type} has no {' or '.join(kinds[0])}")
    version = document.get("schemaVersion")
    if media_type in (*_IMAGES, *INDEXES) and not (isinstance(version, int) and version == 2):
        refuse("schemaVersion must be 2")


def _descriptors(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each descriptor, with the name of the field that it stands in."""
    for name in ("config", "subject"):
        if document.get(name) is not None:
            yield name, document[name]
    for name in _LISTS:
        for entry in _list(document, name):
            yield name, entry


def _list(document: dict[str, Any], name: str) -> list[Any]:
    entries = document.get(name)
    if entries is None:
        return []
    if not isinstance(entries, list):
        refuse(f"{name} must be a list")
    return entries


def _digest(descriptor: Any, where: str) -> str:
    """Check a descriptor (image-spec, descriptor.md), give it what it left out, and return its digest."""
    if not isinstance(descriptor, dict):
        refuse(f"{where}: a descriptor is a JSON object")
    media_type, size, digest = (descriptor.get(name) for name in ("mediaType", "size", "digest"))
    media_type, size = "" if media_type is None else media_type, 0 if size is None else size
    if not isinstance(media_type, str) or not is_type(media_type):
        refuse(f"{where}: a mediaType is at most {TYPE_LENGTH} bytes of text, without control characters")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        refuse(f"{where}: the descriptor's size must be a number of bytes")
    if not isinstance(digest, str):
        raise DigestInvalid(f"{where}: the descriptor has no digest")
    descriptor["mediaType"], descriptor["size"] = media_type, size
    return digests.parse(digest)


def _require_plain(descriptor: dict[str, Any], where: str) -> None:
    """Refuse a descriptor that readers differ about, or that those with typed fields do not read at all."""
    documents.require_one_case(descriptor, _DESCRIPTOR_KEYS, where)
    urls, platform = descriptor.get("urls"), descriptor.get("platform")
    if urls is not None and not (isinstance(urls, list) and all(isinstance(url, str) for url in urls)):
        refuse(f"{where}: urls must be a list of strings")
    if platform is not None and not isinstance(platform, dict):
        refuse(f"{where}: a platform is a JSON object")
    documents.require_one_case(platform or (), _PLATFORM_KEYS, f"{where}: platform")
    _strings(descriptor, where)


def _artifact_type(document: dict[str, Any]) -> str | None:
    artifact_type = document.get("artifactType")
    if artifact_type in (None, ""):
        return None
    if not isinstance(artifact_type, str) or not is_type(artifact_type):
        refuse(f"artifactType is at most {TYPE_LENGTH} bytes of text, without control characters")
    return artifact_type


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    annotations = _strings(document, "manifest")
    if document.get("subject") is not None and len(json.dumps(annotations)) > _ANNOTATIONS_LIMIT:
        refuse(f"the annotations of a manifest with a subject may have {_ANNOTATIONS_LIMIT} bytes")
    return annotations


def _strings(annotated: dict[str, Any], where: str) -> dict[str, str]:
    """The annotations of a document or descriptor; a null is an empty string, as it is to readers in Go."""
    annotations = annotated.get("annotations")
    if annotations is None:
        return {}
    if not isinstance(annotations, dict) or not all(isinstance(each, str | None) for each in annotations.values()):
        refuse(f"{where}: annotations must map strings to strings")
    return {name: text or "" for name, text in annotations.items()}


def _unique(digests_found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(digests_found))
