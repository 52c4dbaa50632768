"""Repositories and artifacts of a project, as people manage them: looked at, described, tagged and deleted.

What a push or a client's delete does is chalicelib/registry's; deletes here go the same ways, so that the protocol of
docs/gc.md holds for them too.
"""

from __future__ import annotations

from chalicelib.events.records import JOBS, Actor
from chalicelib.oci import digests
from chalicelib.oci.errors import ManifestUnknown
from chalicelib.projects.errors import ArtifactNotFoundError, RepositoryNotFoundError
from chalicelib.registry import deletion, pull, push
from chalicelib.registry.store import artifacts as artifact_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store import repositories as table
from chalicelib.registry.store.artifacts import Artifact
from chalicelib.registry.store.repositories import Repository


def get(name: str) -> Repository:
    """Raises RepositoryNotFoundError."""
    found = table.read(name)
    if found is None:
        raise RepositoryNotFoundError(f"repository {name} not found")
    return found


def describe(name: str, description: str) -> None:
    """Raises RepositoryNotFoundError."""
    if not table.describe(name, description):
        raise RepositoryNotFoundError(f"repository {name} not found")


def artifact(repository: str, reference: str) -> Artifact:
    """The artifact under a tag or a digest. Raises ArtifactNotFoundError."""
    digest = reference
    if not digests.is_digest(reference):
        tag = manifest_table.read_tag(repository, reference)
        digest = tag.digest if tag else ""
    record = manifest_table.read_record(repository, digest) if digest else None
    found = artifact_table.read(repository, digest, record.created, record.accessory) if record else None
    if found is None:
        raise ArtifactNotFoundError(f"artifact {repository}:{reference} not found")
    return found


def inherited_signatures(repository: str, digest: str) -> list[Artifact]:
    """The signatures of the indexes that name a manifest: they cover what an index names."""
    parents = manifest_table.parents_of(repository, digest)
    found = [each for parent in parents for each in artifact_table.accessories_of(repository, parent)]
    return [each for each in found if each.accessory and each.accessory.is_signature]


def delete_artifact(repository: str, reference: str, actor: Actor = JOBS) -> None:
    """Delete an artifact with all its tags, whichever of them it is named by.

    Raises ArtifactNotFoundError, or Referenced while an index names it.
    """
    found = artifact(repository, reference)
    try:
        deletion.manifest(repository, found.digest, actor)
    except ManifestUnknown as error:
        raise ArtifactNotFoundError(f"artifact {repository}:{reference} not found") from error


def add_tag(repository: str, reference: str, tag: str, actor: Actor = JOBS) -> bool:
    """Give an artifact one more tag. False when the tag exists. Raises ArtifactNotFoundError."""
    found = artifact(repository, reference)
    if manifest_table.read_tag(repository, tag) is not None:
        return False
    pulled = pull.manifest(repository, found.digest)
    push.manifest(repository, tag, pulled.content, pulled.media_type, actor, digest=found.digest)
    return True


def delete_tag(repository: str, reference: str, tag: str, actor: Actor = JOBS) -> None:
    """Take a tag from the artifact that it names. Raises ArtifactNotFoundError when it names another, or none."""
    found = artifact(repository, reference)
    present = manifest_table.read_tag(repository, tag)
    if present is None or present.digest != found.digest:
        raise ArtifactNotFoundError(f"artifact {repository}:{reference} has no tag {tag}")
    deletion.manifest(repository, tag, actor)
