"""What an artifact holds besides its manifest, for people to read, such as an image's history or a chart's values.

Sources: Harbor, src/controller/artifact/processor (image, chart, cnai). All of it lies in blobs, so it is read when
somebody asks: a push has no call of S3 to spare. What lists show of it (`extra_attrs`) is kept in the artifact's item
from then on; it cannot change under a digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib import bounded_json
from chalicelib.artifacts import archives
from chalicelib.bounded_json import Bounds, JsonRefusedError
from chalicelib.oci import manifests
from chalicelib.oci.errors import BlobUnknown, ManifestUnknown
from chalicelib.oci.manifests import INDEXES, Manifest
from chalicelib.projects.errors import AdditionInvalidError, AdditionNotFoundError, AdditionUnknownError
from chalicelib.registry import blobs, pull
from chalicelib.registry.pull import PulledManifest
from chalicelib.registry.store import artifacts as table
from chalicelib.registry.store.artifacts import Artifact
from chalicelib.storage import blobstore

_CONFIG_LIMIT = 1 << 20
_MANIFEST_LIMIT = 1 << 20
"""Bytes of a manifest that a list looks into for its config: a hundred such are read at once."""
_CONFIG_BOUNDS = Bounds(marks=20_000)
"""What a config may hold: some milliseconds, since a list reads up to a hundred. Images' have some hundred entries."""
_EXTRA_LIMIT = 32 * 1024
"""Bytes of extra attributes that are kept: a page of a hundred artifacts is read at once."""

_JSON = "application/json; charset=utf-8"
_MARKDOWN = "text/markdown; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"

_OF_TYPE = {
    "IMAGE": ("build_history",),
    "CHART": ("values.yaml", "readme.md", "dependencies"),
    "CNAI": ("readme.md", "license", "files"),
}
_CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_MODEL_PATHS = ("org.cncf.model.filepath", "org.cnai.model.filepath")
_MODEL_DOCUMENTS = {
    "readme.md": frozenset({"readme", "readme.md"}),
    "license": frozenset({"license", "license.txt"}),
}
_PATH_LIMIT = 1024
_FOLDERS_LIMIT = 64
"""Folders within one another that a model's files are shown in."""
_ENTRIES_LIMIT = 20_000
"""Files and folders of a model that are shown."""
_AUTHOR_LABELS = ("org.opencontainers.image.authors", "maintainer")


@dataclass(frozen=True)
class Addition:
    content: bytes
    media_type: str


def names(artifact: Artifact) -> tuple[str, ...]:
    """The additions that an artifact of its type has."""
    if artifact.summary["manifest_media_type"] in INDEXES:
        return ()
    return _OF_TYPE.get(artifact.summary["type"], ())


def get(artifact: Artifact, name: str) -> Addition:
    """Raises AdditionUnknownError for a name that its type has not, AdditionNotFoundError, or AdditionInvalidError."""
    if name not in names(artifact):
        raise AdditionUnknownError(f"addition {name[:64]} isn't supported for {artifact.summary['type']}")
    parsed = _manifest(artifact)
    if name == "build_history":
        return _as_json(_config(artifact.repository, parsed).get("history") or [])
    if artifact.summary["type"] == "CHART":
        return _of_chart(artifact.repository, parsed, name)
    return _of_model(artifact.repository, parsed, name)


@dataclass
class Allowance:
    """What one request may still read of manifests and configs, in whichever of its threads; about so."""

    left_bytes: int = 8 << 20


def extra_attributes(artifact: Artifact, allowance: Allowance) -> Mapping[str, Any]:
    """Harbor's `extra_attrs`: what the config says. Read once, then kept; none for other types.

    None either when the `allowance` is used up: those are read by the next request that asks.
    """
    if artifact.extra is not None:
        return artifact.extra
    if allowance.left_bytes <= 0:
        return {}
    try:
        extra = _kept(_attributes(artifact, allowance)) if names(artifact) else {}
    except AdditionInvalidError:
        extra = {}
    except AdditionNotFoundError:
        return {}  # a proxy's may come yet
    table.set_extra(artifact, extra)
    return extra


def _attributes(artifact: Artifact, allowance: Allowance) -> dict[str, Any]:
    content = _manifest_content(artifact)
    allowance.left_bytes -= len(content.content)
    if len(content.content) > _MANIFEST_LIMIT:
        raise AdditionInvalidError(f"manifests of up to {_MANIFEST_LIMIT} bytes are looked into")
    config = _config_content(artifact.repository, manifests.stored(content.content, content.media_type))
    allowance.left_bytes -= len(config)
    parsed = _parsed(config)
    return _of_image(parsed) if parsed and artifact.summary["type"] == "IMAGE" else parsed


def _kept(extra: dict[str, Any]) -> dict[str, Any]:
    """As much of the attributes as an item may keep: the largest are left out, each measured once."""
    sizes = {name: len(json.dumps({name: value})) for name, value in extra.items()}
    total = sum(sizes.values())
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if total <= _EXTRA_LIMIT:
            break
        total -= sizes.pop(name)
    return {name: value for name, value in extra.items() if name in sizes}


def _of_image(config: Mapping[str, Any]) -> dict[str, Any]:
    settings = config.get("config")
    settings = settings if isinstance(settings, dict) else {}
    labels = settings.get("Labels")
    labels = labels if isinstance(labels, dict) else {}
    author = config.get("author") or next((labels[name] for name in _AUTHOR_LABELS if labels.get(name)), "")
    return {
        "architecture": config.get("architecture", ""),
        "author": author,
        "config": settings,
        "created": config.get("created"),
        "os": config.get("os", ""),
    }


def _of_chart(repository: str, manifest: Manifest, name: str) -> Addition:
    """A chart's config is its Chart.yaml as JSON, dependencies and all (helm, pkg/registry)."""
    if name == "dependencies":
        return _as_json(_config(repository, manifest).get("dependencies") or [])
    layers = [layer for layer in _layers(manifest) if layer["mediaType"] == _CHART_LAYER]
    found = archives.find_file(_blob(repository, layers[0]), frozenset({name}), depth=1) if layers else None
    # As in Harbor, a chart without the file has it empty.
    return Addition(found or b"", _MARKDOWN if name == "readme.md" else _TEXT)


def _of_model(repository: str, manifest: Manifest, name: str) -> Addition:
    if name == "files":
        return _as_json(_tree(manifest))
    for layer in _layers(manifest):
        path = _path(layer)
        if ".doc." in layer["mediaType"] and path.lower() in _MODEL_DOCUMENTS[name]:
            content = _blob(repository, layer)
            if ".tar" in layer["mediaType"]:
                content = archives.find_file(content, frozenset({path.lower()}), depth=0) or b""
            return Addition(content, _MARKDOWN if name == "readme.md" else _TEXT)
    raise AdditionNotFoundError(f"the model has no {name}")


def _tree(manifest: Manifest) -> list[dict[str, Any]]:
    """The files that a model's layers say they hold, folders first. Raises AdditionInvalidError when they are many."""
    root: dict[str, Any] = {}
    entries = 0
    for layer in _layers(manifest):
        *parents, name = _path(layer).split("/")
        folders = [folder for folder in parents if folder]
        entries += len(folders) + 1
        if len(folders) > _FOLDERS_LIMIT or entries > _ENTRIES_LIMIT:
            raise AdditionInvalidError("the model's files lie in too many folders")
        place = root
        for folder in folders:
            inner = place.setdefault(folder, {})
            place = inner if isinstance(inner, dict) else {}
        if name:
            place.setdefault(name, layer["size"])
    return _listed(root)


def _listed(folder: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = [
        {"name": name, "type": "directory", "children": _listed(inner)}
        if isinstance(inner, dict)
        else {"name": name, "type": "file", "size": inner}
        for name, inner in folder.items()
    ]
    return sorted(entries, key=lambda entry: (entry["type"], entry["name"]))


def _path(layer: Mapping[str, Any]) -> str:
    annotations = layer.get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    path = next((annotations[name] for name in _MODEL_PATHS if annotations.get(name)), "")
    return path[:_PATH_LIMIT] if isinstance(path, str) else ""


def _manifest(artifact: Artifact) -> Manifest:
    pulled = _manifest_content(artifact)
    return manifests.stored(pulled.content, pulled.media_type)


def _manifest_content(artifact: Artifact) -> PulledManifest:
    try:
        return pull.manifest(artifact.repository, artifact.digest)
    except ManifestUnknown as error:
        raise AdditionNotFoundError("the artifact is gone") from error


def _layers(manifest: Manifest) -> list[dict[str, Any]]:
    return manifest.document.get("layers") or []


def _config(repository: str, manifest: Manifest) -> dict[str, Any]:
    """The config, read. Raises AdditionNotFoundError or AdditionInvalidError."""
    return _parsed(_config_content(repository, manifest))


def _config_content(repository: str, manifest: Manifest) -> bytes:
    descriptor = manifest.document.get("config")
    if descriptor is None:
        raise AdditionNotFoundError("the manifest has no config")
    return _blob(repository, descriptor, _CONFIG_LIMIT)


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        config = bounded_json.read(content, _CONFIG_BOUNDS)
    except JsonRefusedError as error:
        raise AdditionInvalidError(f"the config cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise AdditionInvalidError("the config is no JSON object")
    return config


def _blob(repository: str, descriptor: Mapping[str, Any], limit: int = archives.ARCHIVE_LIMIT) -> bytes:
    """A blob's bytes. Raises AdditionNotFoundError, or AdditionInvalidError when they are more than `limit`."""
    try:
        blob = blobs.find(repository, descriptor["digest"])
    except BlobUnknown as error:
        raise AdditionNotFoundError(f"the blob {descriptor['digest']} is not here") from error
    if blob.size > limit:
        raise AdditionInvalidError(f"{blob.digest} has {blob.size} bytes, and up to {limit} are looked into")
    content = blobstore.get(blob.object_key)
    if content is None:
        raise AdditionNotFoundError(f"the blob {blob.digest} is gone")
    return content


def _as_json(content: Any) -> Addition:
    return Addition(json.dumps(content).encode(), _JSON)
