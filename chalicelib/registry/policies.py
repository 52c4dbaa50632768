"""What a project lets clients pull: only what is signed, only what is free of vulnerabilities.

As in Harbor (src/server/middleware/contenttrust, vulnerable), a client's GET of a manifest is looked at, and no HEAD. A
signature itself may always be pulled, or nobody could verify it. Who may push may pull with cosign or notation: they
read a manifest before they sign it.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.oci import manifests, summaries
from chalicelib.oci.errors import PolicyViolation
from chalicelib.projects.records import Project
from chalicelib.registry import pull
from chalicelib.registry.pull import PulledManifest, Standing
from chalicelib.registry.store import manifests as table
from chalicelib.registry.store import standings

_SIGNERS = ("cosign", "notation")
_SCANNABLE = "IMAGE"


@dataclass(frozen=True)
class Policy:
    """What a project requires."""

    cosign: bool
    notation: bool
    scan: bool
    severity: str

    @classmethod
    def of(cls, project: Project) -> Policy:
        cosign, notation, scan = (project.metadata.get(name) == "true" for name in project.PULL_POLICIES)
        return cls(cosign, notation, scan, project.metadata.get("severity", ""))


def is_signer(user_agent: str) -> bool:
    """Whether a client says that it is one of those that sign. Anyone can: it must not be all that is asked."""
    return any(name in user_agent for name in _SIGNERS)


def allowed(repository: str, reference: str, policy: Policy, *, signs: bool) -> PulledManifest:
    """The manifest that a tag or digest names, if the project lets it be pulled. `signs`: the caller may and will sign.

    As many reads as without a policy, except for a child of an index, which the index's signature covers.
    Raises ManifestUnknown or PolicyViolation.
    """
    pulled, standing = pull.with_standing(repository, reference)
    if standing.accessory is not None and standing.accessory.is_signature:
        return pulled
    if not signs:
        _require_signed(repository, pulled.digest, policy, standing)
    if policy.scan and _type(pulled) == _SCANNABLE:
        raise PolicyViolation(
            "current image without vulnerability scanning cannot be pulled due to configured policy in 'Prevent images "
            f'with vulnerability severity of "{policy.severity.capitalize() or "Low"}" or higher from running.\' '
            "To continue with pull, please contact your project administrator for help."
        )
    return pulled


def _require_signed(repository: str, digest: str, policy: Policy, standing: Standing) -> None:
    """Raises PolicyViolation."""
    lacks_cosign = policy.cosign and not standing.signatures.cosign
    lacks_notation = policy.notation and not standing.signatures.notation
    if lacks_cosign or lacks_notation:
        of_parents = standings.signatures_of(repository, table.parents_of(repository, digest))
        if lacks_cosign and not any(each.cosign for each in of_parents):
            raise PolicyViolation("The image is not signed by cosign.")
        if lacks_notation and not any(each.notation for each in of_parents):
            raise PolicyViolation("The image is not signed by notation.")


def _type(pulled: PulledManifest) -> str:
    return str(summaries.of(manifests.stored(pulled.content, pulled.media_type))["type"])
