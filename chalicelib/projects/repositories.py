"""Repositories and artifacts of a project, as people manage them: looked at, described, tagged and deleted.

What a push or a client's delete does is chalicelib/registry's; deletes here go the same ways, so that the protocol of
docs/gc.md holds for them too.
"""

from __future__ import annotations

import time

from chalicelib.auditing import artifacts as audited
from chalicelib.auditing.records import JOBS, Actor
from chalicelib.projects import immutability, rules
from chalicelib.projects.errors import ArtifactNotFoundError, NotEmptyError, RepositoryNotFoundError
from chalicelib.registry import deletion, digests, manifests, pull, push
from chalicelib.registry.errors import BlobUnknown, ManifestUnknown, Referenced, Unavailable
from chalicelib.registry.names import project_of
from chalicelib.storage import artifacts as artifact_table
from chalicelib.storage import listings
from chalicelib.storage import manifests as manifest_table
from chalicelib.storage import repositories as table
from chalicelib.storage.artifacts import Artifact
from chalicelib.storage.conditions import now
from chalicelib.storage.repositories import Repository

_PAGE = 100
_DELETE_SECONDS = 20.0
"""How long one request deletes: the gateway ends it at 30 seconds, and would leave it going on unseen."""


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


def delete(name: str, actor: Actor = JOBS) -> None:
    """Delete a repository with all that it held when this began.

    Raises RepositoryNotFoundError, or NotEmptyError when clients have pushed to it meanwhile: that stays. Raises
    Immutable, and deletes nothing, when a tag must stay; Unavailable, before the gateway would give up, when there
    is more to delete than fits a request: the next one goes on, as it does with what an interrupted delete has left.
    """
    began, deadline = now(), time.monotonic() + _DELETE_SECONDS
    get(name)
    immutability.require_deletable(name, (tag.name for tags in listings.tags_by_digest(name).values() for tag in tags))
    # What is about an artifact goes with it; what is left then is about none that is there.
    for accessories in (False, True):
        while _delete_artifacts(name, actor, began, deadline, accessories=accessories):
            pass
    event, public = audited.repository_deleted(actor, name), rules.get(project_of(name)).public
    if not table.delete_empty(name, event, public=public) and table.exists(name):
        raise NotEmptyError(f"repository {name} is being pushed to: try again")


def _delete_artifacts(repository: str, actor: Actor, began: int, deadline: float, *, accessories: bool) -> bool:
    """Delete the artifacts of one page that no index names, then what they named alone. False when none was."""
    deleted, start = 0, 0
    while not deleted:
        page = artifact_table.read_page(repository, start, _PAGE, accessories=accessories)
        if not page:
            return False
        for each in page:
            if time.monotonic() > deadline:
                raise Unavailable(f"{repository} holds more than one request deletes: repeat it", retry_after=1)
            if each.pushed <= began:
                deleted += _delete_unless_referenced(repository, each.digest, actor)
        start += len(page)
    return True


def _delete_unless_referenced(repository: str, digest: str, actor: Actor) -> bool:
    try:
        content = pull.manifest(repository, digest)
        deletion.manifest(repository, digest, actor)
    except (Referenced, ManifestUnknown):
        return False
    for blob in manifests.stored(content.content, content.media_type).references:
        try:
            deletion.blob(repository, blob)
        except (BlobUnknown, Referenced):
            continue  # never uploaded here, or another artifact's too
    return True
