"""Signatures and other accessories as their tools push them, with contents that nobody verifies."""

from __future__ import annotations

import os
from typing import Any

from chalicelib.oci import digests, manifests
from chalicelib.registry import push
from tests.registry.images import CONFIG, image, push_blob

COSIGN = "application/vnd.dev.cosign.artifact.sig.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
NOTATION = "application/vnd.cncf.notary.signature"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


def about(digest: str) -> dict[str, Any]:
    return {"mediaType": manifests.OCI_MANIFEST, "digest": digest, "size": 100}


def attach(repository: str, subject: str, artifact_type: str = COSIGN, tag: str = "", **more: Any) -> str:
    """Push an accessory with an OCI subject, by digest unless `tag` says otherwise; returns its digest."""
    config = push_blob(repository, b"{}", "application/vnd.oci.empty.v1+json")
    layer = push_blob(repository, os.urandom(16), "application/octet-stream")
    content = image(config, layer, subject=about(subject), artifactType=artifact_type, **more)
    return push.manifest(repository, tag or digests.of(content), content, manifests.OCI_MANIFEST).digest


def attach_by_tag(repository: str, subject: str, suffix: str = "sig", layer_type: str = SIMPLE_SIGNING) -> str:
    """Push a signature (or what `suffix` says) as cosign 2 does, by its tag; returns its digest."""
    config = push_blob(repository, os.urandom(16), CONFIG)
    content = image(config, push_blob(repository, os.urandom(16), layer_type))
    tag = f"{subject.replace(':', '-')}.{suffix}"
    return push.manifest(repository, tag, content, manifests.OCI_MANIFEST).digest
