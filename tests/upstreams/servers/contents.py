"""What the scripted upstream holds, and the right answer to each request."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from typing import Any

from tests.upstreams.servers.faults import Reply, Request, refusal

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>[^/]+)")


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Image:
    """What was put, to compare with what comes out."""

    digest: str
    manifest: bytes
    media_type: str
    config: str
    layers: tuple[str, ...]

    @property
    def blobs(self) -> tuple[str, ...]:
        return (self.config, *self.layers)


class Contents:
    """Blobs belong to the registry, manifests and tags to repositories. All of it may be changed at any time."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, dict[str, tuple[str, bytes]]] = {}
        """By repository and digest: the media type and the content."""
        self.tags: dict[str, dict[str, str]] = {}

    def put_blob(self, content: bytes) -> str:
        digest = digest_of(content)
        self.blobs[digest] = content
        return digest

    def put_manifest(self, repository: str, content: bytes, media_type: str = MANIFEST, tag: str = "") -> str:
        digest = digest_of(content)
        self.manifests.setdefault(repository, {})[digest] = (media_type, content)
        if tag:
            self.tags.setdefault(repository, {})[tag] = digest
        return digest

    def put_image(
        self, repository: str, tag: str = "", layers: int | list[bytes] = 2, size: int = 2000, **more: Any
    ) -> Image:
        """An image of new random layers, or of these; `more` is what else its manifest says, such as a `subject`."""
        contents = [os.urandom(size) for _ in range(layers)] if isinstance(layers, int) else layers
        config = json.dumps({"architecture": "amd64", "os": "linux", "id": os.urandom(8).hex()}).encode()

        def describe(content: bytes, media_type: str) -> dict[str, Any]:
            return {"mediaType": media_type, "digest": self.put_blob(content), "size": len(content)}

        described = [describe(content, LAYER) for content in contents]
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe(config, CONFIG),
            "layers": described,
            **more,
        }
        manifest = json.dumps(document).encode()
        digest = self.put_manifest(repository, manifest, tag=tag)
        return Image(digest, manifest, MANIFEST, digest_of(config), tuple(each["digest"] for each in described))

    def put_index(self, repository: str, tag: str, *images: Image) -> str:
        """An index of these, for amd64, arm64 and so on; its digest."""
        entries = [
            {
                "mediaType": MANIFEST,
                "digest": image.digest,
                "size": len(image.manifest),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for image, architecture in zip(images, ("amd64", "arm64", "s390x", "ppc64le"), strict=False)
        ]
        content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        return self.put_manifest(repository, content, INDEX, tag)

    def answer(self, request: Request) -> Reply:
        found = _PATH.fullmatch(request.path)
        if request.path == "/v2/":
            return _json({})
        if not found or request.method not in ("GET", "HEAD"):
            return refusal(405, "UNSUPPORTED")
        answers = {
            "manifests": self._manifest,
            "blobs": self._blob,
            "tags": self._tags,
            "referrers": self._referrers,
        }
        return answers[found["kind"]](request, found["name"], found["reference"])

    def _manifest(self, _: Request, repository: str, reference: str) -> Reply:
        digest = self.tags.get(repository, {}).get(reference, reference)
        if digest not in self.manifests.get(repository, {}):
            return refusal(404, "MANIFEST_UNKNOWN")
        media_type, content = self.manifests[repository][digest]
        return Reply(200, {"Content-Type": media_type, "Docker-Content-Digest": digest}, content)

    def _blob(self, request: Request, _: str, digest: str) -> Reply:
        if digest not in self.blobs:
            return refusal(404, "BLOB_UNKNOWN")
        content = self.blobs[digest]
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        return _ranged(request, Reply(200, {**headers, "Accept-Ranges": "bytes"}, content, content))

    def _tags(self, request: Request, repository: str, _: str) -> Reply:
        if repository not in self.manifests:
            return refusal(404, "NAME_UNKNOWN")
        tags = sorted(tag for tag in self.tags.get(repository, {}) if tag > request.query.get("last", ""))
        size = int(request.query.get("n", len(tags)))
        reply = _json({"name": repository, "tags": tags[:size]})
        if len(tags) <= size:
            return reply
        return reply.having(Link=f'<{request.path}?n={size}&last={tags[size - 1]}>; rel="next"')

    def _referrers(self, request: Request, repository: str, digest: str) -> Reply:
        found = []
        for each, (media_type, content) in self.manifests.get(repository, {}).items():
            document = json.loads(content)
            if document.get("subject", {}).get("digest") == digest:
                kind = document.get("artifactType") or document["config"]["mediaType"]
                found.append({"mediaType": media_type, "digest": each, "size": len(content), "artifactType": kind})
        wanted = request.query.get("artifactType")
        found = [each for each in found if wanted in (None, each["artifactType"])]
        reply = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": found}).having(Content_Type=INDEX)
        return reply.having(OCI_Filters_Applied="artifactType") if wanted else reply


def _json(document: Any) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(document).encode())


def _ranged(request: Request, reply: Reply) -> Reply:
    """The part of a reply that a Range of one span asks for (RFC 9110, section 14)."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not asked or request.method != "GET":
        return reply
    size = len(reply.body)
    start, end = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
    if start > end:
        return Reply(416, {"Content-Range": f"bytes */{size}"})
    part = replace(reply, status=206, body=reply.body[start : end + 1])
    return part.having(Content_Range=f"bytes {start}-{end}/{size}")


def repository_of(path: str) -> str:
    """The repository that a path is about, empty for none."""
    found = _PATH.fullmatch(path)
    return found["name"] if found else ""
