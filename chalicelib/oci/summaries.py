"""What a list of artifacts shows of a manifest: its type, its size, its annotations, and what an index names.

Types are Harbor's (src/controller/artifact/processor): an image or index, or what the config's media type says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from chalicelib.oci.manifests import INDEXES, Manifest

_IMAGE_CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
_EMPTY = "application/vnd.oci.empty.v1+json"
_KNOWN = {
    "application/vnd.cncf.helm.config.v1+json": "CHART",
    "application/vnd.cnab.config.v1+json": "CNAB",
    "application/vnd.cncf.model.config.v1+json": "CNAI",
    "application/vnd.wasm.config.v1+json": "WASM",
}
_NAMED = re.compile(r"application/vnd\.[^.]*\.(.*)\.config\.[^.]*\+[^.]*\Z")
_UNKNOWN = "UNKNOWN"

_LIMIT = 64 * 1024
"""Bytes of a summary: a page of a hundred is one or two reads of DynamoDB (1 MB each)."""


_SIZE_LIMIT = (1 << 63) - 1
"""The swagger's int64: sizes are what a manifest says, and clients in Go read no larger number."""


def of(manifest: Manifest, blobs: Collection[str] = ()) -> dict[str, Any]:
    """The summary of a manifest; what would make it longer than 64 KB is left out, the largest part first.

    `blobs` are those of its children that are no manifests, as in a cache of BuildKit's: references are artifacts.
    """
    document = manifest.document
    config = document.get("config")
    media_type = config["mediaType"] if isinstance(config, dict) else manifest.media_type
    summary: dict[str, Any] = {
        "type": _type(manifest, media_type),
        "media_type": media_type,
        "manifest_media_type": manifest.media_type,
        "artifact_type": manifest.artifact_type or media_type,
        "size": _size(manifest),
        "subject": manifest.subject,
        "annotations": manifest.annotations,
        "references": [_reference(each) for each in document.get("manifests") or [] if each["digest"] not in blobs],
    }
    for large in sorted(("annotations", "references"), key=lambda name: -len(json.dumps(summary[name]))):
        if len(json.dumps(summary)) > _LIMIT:
            del summary[large]
    return summary


def _type(manifest: Manifest, media_type: str) -> str:
    if media_type in _IMAGE_CONFIGS or manifest.media_type in INDEXES:
        return "IMAGE"
    named = manifest.artifact_type if media_type == _EMPTY and manifest.artifact_type else media_type
    match = _NAMED.match(named)
    return _KNOWN.get(named) or (match[1].upper() if match else _UNKNOWN)


def _size(manifest: Manifest) -> int:
    """Bytes of a manifest and all that it names; of an index, of what it names itself."""
    document = manifest.document
    config = document.get("config")
    named = [config] if config is not None else []
    for name in ("layers", "blobs", "manifests"):
        named += document.get(name) or []
    size: int = len(manifest.content) + sum(entry["size"] for entry in named)
    return min(size, _SIZE_LIMIT)


def _reference(entry: dict[str, Any]) -> dict[str, Any]:
    """The swagger's Reference, as far as an index tells. What has another type than it should is left out."""
    reference: dict[str, Any] = {"child_digest": entry["digest"]}
    platform = _strings(entry.get("platform"))
    if platform:
        reference["platform"] = {name: platform[name] for name in _PLATFORM if name in platform}
    annotations = _strings(entry.get("annotations"))
    if annotations:
        reference["annotations"] = annotations
    return reference


_PLATFORM = ("architecture", "os", "os.version", "variant")


def _strings(value: Any) -> dict[str, str]:
    fields = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in fields if isinstance(text, str)}
