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

from chalicelib.projects import archives
from chalicelib.projects.errors import AdditionInvalidError, AdditionNotFoundError, AdditionUnknownError
from chalicelib.registry import blobs, manifests, pull
from chalicelib.registry.errors import BlobUnknown, ManifestUnknown
from chalicelib.registry.manifests import INDEXES, Manifest
from chalicelib.storage import artifacts as table
from chalicelib.storage import blobstore
from chalicelib.storage.artifacts import Artifact

_CONFIG_LIMIT = 1 << 20
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


def extra_attributes(artifact: Artifact) -> Mapping[str, Any]:
    """Harbor's `extra_attrs`: what the config says. Read once, then kept; none for other types."""
    if artifact.extra is not None:
        return artifact.extra
    extra: dict[str, Any] = {}
    if names(artifact):
        try:
            config = _config(artifact.repository, _manifest(artifact))
        except (AdditionInvalidError, AdditionNotFoundError):
            config = {}
        extra = _of_image(config) if config and artifact.summary["type"] == "IMAGE" else config
        for large in sorted(extra, key=lambda name: -len(json.dumps(extra[name]))):
            if len(json.dumps(extra)) > _EXTRA_LIMIT:
                extra = {name: value for name, value in extra.items() if name != large}
    table.set_extra(artifact, extra)
    return extra


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
    """The files that a model's layers say they hold, folders first."""
    root: dict[str, Any] = {}
    for layer in _layers(manifest):
        *folders, name = _path(layer).split("/")
        place = root
        for folder in filter(None, folders):
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
    try:
        pulled = pull.manifest(artifact.repository, artifact.digest)
    except ManifestUnknown as error:
        raise AdditionNotFoundError("the artifact is gone") from error
    return manifests.stored(pulled.content, pulled.media_type)


def _layers(manifest: Manifest) -> list[dict[str, Any]]:
    return manifest.document.get("layers") or []


def _config(repository: str, manifest: Manifest) -> dict[str, Any]:
    """The config, read. Raises AdditionNotFoundError or AdditionInvalidError."""
    descriptor = manifest.document.get("config")
    if descriptor is None:
        raise AdditionNotFoundError("the manifest has no config")
    content = _blob(repository, descriptor, _CONFIG_LIMIT)
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AdditionInvalidError("the config is not JSON") from error
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
