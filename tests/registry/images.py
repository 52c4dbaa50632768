"""Small real images, pushed by the rules themselves."""

from __future__ import annotations

import json
import os
from typing import Any

from chalicelib.oci import digests, manifests
from chalicelib.registry import blobs, push
from chalicelib.storage import blobstore
from chalicelib.storage.conditions import new_id

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"


def descriptor(content: bytes, media_type: str = LAYER) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digests.of(content), "size": len(content)}


def push_blob(repository: str, content: bytes, media_type: str = LAYER) -> dict[str, Any]:
    """Store bytes as a finished upload would, and return their descriptor."""
    key = f"blobs/{new_id()}"
    blobstore.put(key, content)
    blobs.publish(repository, digests.of(content), len(content), key)
    return descriptor(content, media_type)


def image(config: dict[str, Any], *layers: dict[str, Any], **more: Any) -> bytes:
    document = {"schemaVersion": 2, "mediaType": manifests.OCI_MANIFEST, "config": config, "layers": layers, **more}
    return json.dumps(document).encode()


def index(*children: bytes, **more: Any) -> bytes:
    entries = [descriptor(child, manifests.OCI_MANIFEST) for child in children]
    return json.dumps({"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": entries, **more}).encode()


def push_image(repository: str, tag: str = "latest", layers: int = 2) -> tuple[str, bytes]:
    """A new image of random layers; returns its digest and its manifest's bytes."""
    config = push_blob(repository, os.urandom(16), CONFIG)
    content = image(config, *(push_blob(repository, os.urandom(32)) for _ in range(layers)))
    return push.manifest(repository, tag, content, manifests.OCI_MANIFEST).digest, content
