"""Accessories: what is pushed about another artifact, its subject, such as a signature or an SBOM.

Types are Harbor's (src/pkg/accessory/model). A manifest is an accessory by its OCI `subject` (as in Harbor,
src/server/middleware/subject), or by the tag that cosign gives it: `sha256-<hex>.sig`, `.att` or `.sbom` (cosign,
specs/SIGNATURE_SPEC.md; Harbor, src/server/middleware/cosign). The subject may be pushed later, or never.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from chalicelib.oci.manifests import Manifest

COSIGN = "signature.cosign"
NOTATION = "signature.notation"
_SBOM = "sbom.harbor"
_NYDUS = "accelerator.nydus"
_OTHER = "subject.accessory"

_REFERRERS_TAG = r"sha256-([0-9a-f]{64})"
_COSIGN_SUFFIX = r"\.(sig|att|sbom)"
_COSIGN_TAG = re.compile(rf"{_REFERRERS_TAG}{_COSIGN_SUFFIX}\Z")
_FALLBACK_TAG = re.compile(rf"(?:{_REFERRERS_TAG}({_COSIGN_SUFFIX})?|sha512-[0-9a-f]{{64}})\Z")
"""With the first 64 characters of the digest (distribution-spec, "Referrers Tag Schema")."""
_COSIGN_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
_NYDUS_ANNOTATION = "containerd.io/snapshot/nydus-bootstrap"

_BY_TYPE = {
    "application/vnd.dev.cosign.artifact.sig.v1+json": COSIGN,
    "application/vnd.cncf.notary.signature": NOTATION,
    "application/vnd.goharbor.harbor.sbom.v1": _SBOM,
}
_IMAGE_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_BUNDLE = "application/vnd.dev.sigstore.bundle."
_PREDICATE = "dev.sigstore.bundle.predicateType"
_SIGNATURE_PREDICATE = "https://sigstore.dev/cosign/sign/"


@dataclass(frozen=True)
class Accessory:
    """That an artifact is about another."""

    subject: str
    """The digest of the other."""
    kind: str
    """Harbor's type, such as `signature.cosign`."""

    @property
    def is_signature(self) -> bool:
        return self.kind in (COSIGN, NOTATION)


def is_fallback_tag(tag: str) -> bool:
    """Whether a tag only says what its manifest is about: cosign's, or that of the referrers tag schema."""
    return _FALLBACK_TAG.match(tag) is not None


def fallback_tag(digest: str) -> str:
    """The tag of the index that says what is about a manifest (distribution-spec, "Referrers Tag Schema")."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def of(manifest: Manifest, tag: str | None) -> Accessory | None:
    """What `manifest`, pushed as `tag`, is an accessory of."""
    if manifest.subject is not None:
        return Accessory(manifest.subject, _kind(manifest))
    match = _COSIGN_TAG.match(tag or "")
    if match is None:
        return None
    if match[2] != "sig":
        return Accessory(f"sha256:{match[1]}", _OTHER)
    # As in Harbor, the tag alone makes no signature: an image may have any.
    is_signature = any(layer.get("mediaType") == _COSIGN_LAYER for layer in _layers(manifest))
    return Accessory(f"sha256:{match[1]}", COSIGN) if is_signature else None


def _kind(manifest: Manifest) -> str:
    named = manifest.artifact_type or ""
    if named.startswith(_BUNDLE):
        # cosign 3 puts attestations into bundles too, and only their predicate tells them from signatures.
        predicate = manifest.annotations.get(_PREDICATE, _SIGNATURE_PREDICATE)
        return COSIGN if predicate.startswith(_SIGNATURE_PREDICATE) else _OTHER
    if named in _IMAGE_CONFIGS:
        layers = _layers(manifest)
        is_nydus = bool(layers) and _NYDUS_ANNOTATION in (layers[-1].get("annotations") or {})
        return _NYDUS if is_nydus else _OTHER
    return _BY_TYPE.get(named, _OTHER)


def _layers(manifest: Manifest) -> list[dict[str, Any]]:
    """The layers, each checked to be a descriptor when the manifest was read."""
    return manifest.document.get("layers") or []
