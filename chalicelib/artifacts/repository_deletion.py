"""Deleting a repository with all that it holds: in the request as far as that has the time, else by a job.

What goes is what was there when it was asked for: what is committed after that moment stays, and keeps the repository.
A request that comes while a job is at it moves the moment on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.artifacts import repositories
from chalicelib.events.records import JOBS, Actor
from chalicelib.jobs import executions, kinds
from chalicelib.jobs.errors import RunningError, StoppedError
from chalicelib.jobs.records import Kind, Trigger
from chalicelib.jobs.store import executions as execution_table
from chalicelib.oci import manifests
from chalicelib.oci.errors import BlobUnknown, ManifestUnknown, Referenced
from chalicelib.oci.names import number_of, project_of
from chalicelib.projects import immutability, rules
from chalicelib.projects.errors import NotEmptyError
from chalicelib.registry import deletion, pull
from chalicelib.registry import events as audited
from chalicelib.registry.store import artifacts, listings
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store import repositories as table
from chalicelib.storage.conditions import now

REPOSITORY_DELETION = kinds.register(Kind("REPOSITORY_DELETION", "repository-deletion"))
"""Berth's own: of a repository, whose number is the vendor id (oci/names.py)."""

_REQUEST_SECONDS = 10.0
"""How long a request deletes before a job goes on: the gateway gives up at 30, and clients often before."""
_AT_ONCE = 500
"""Manifests of a repository that a request begins to delete; with more a job does all of it."""
_PAGE = 50


@dataclass(frozen=True)
class Deletion:
    """A repository that is to go, as far as it was there at `until`, in milliseconds since 1970."""

    repository: str
    until: int
    actor: Actor
    unnamed: set[str] = field(default_factory=set)
    """The blobs that were named by what is deleted: if nothing is left, the repository serves them no longer."""


def delete(name: str, actor: Actor = JOBS) -> None:
    """Delete a repository; when it is large it goes on going when this has returned.

    Raises RepositoryNotFoundError; Immutable, and deletes nothing, when a tag must stay; NotEmptyError when clients
    have pushed to it meanwhile: that stays.
    """
    whole = Deletion(name, now(), actor)
    deadline = time.monotonic() + _REQUEST_SECONDS
    held = repositories.get(name).manifests
    if _is_left_to_a_job(whole):
        return
    is_checked = require_deletable(name, lambda: time.monotonic() < deadline)
    if is_checked and held <= _AT_ONCE and carry_out(whole, lambda: time.monotonic() < deadline):
        if not end(whole):
            raise NotEmptyError(f"repository {name} is being pushed to: try again")
        return
    _leave_to_a_job(whole)


def require_deletable(name: str, goes_on: Callable[[], bool]) -> bool:
    """Look for tags that must stay. False when `goes_on` ended it before all were looked at. Raises Immutable."""
    if not rules.get(project_of(name)).immutable_rules:
        return True
    after = ""
    while goes_on():
        names, more = listings.tags(name, after, _TAGS)
        immutability.require_deletable(name, names)
        if not more:
            return True
        after = names[-1]
    return False


_TAGS = 1000


def carry_out(whole: Deletion, goes_on: Callable[[], bool]) -> bool:
    """Delete what was there. False when `goes_on` ended it before it was done; the next one goes on.

    What is about an artifact goes with it; what is left then is about none that is there.
    """
    for accessories in (False, True):
        start = 0
        while page := artifacts.read_page(whole.repository, start, _PAGE, accessories=accessories):
            deleted = 0
            for each in page:
                if not goes_on():
                    return False
                deleted += _delete(whole, each.digest)
            # What an index named can be deleted when it has gone: then all are looked at again.
            start = 0 if deleted else start + len(page)
    return True


def end(whole: Deletion) -> bool:
    """Take a repository that is empty out of its project. False when something was pushed meanwhile: all that stays.

    Its blobs are taken out of it only then: a push that is in progress may rely on each.
    """
    name = whole.repository
    event, public = audited.repository_deleted(whole.actor, name), rules.get(project_of(name)).public
    if not table.delete_empty(name, event, public=public) and table.exists(name):
        return False
    for blob in whole.unnamed:
        try:
            deletion.blob(name, blob)
        except (BlobUnknown, Referenced):
            continue  # never uploaded here, or pushed anew
    return True


def _delete(whole: Deletion, digest: str) -> bool:
    """Delete a manifest, if it was there, was not committed anew, and no index names it."""
    repository = whole.repository
    try:
        content = pull.manifest(repository, digest)
        record = manifest_table.read_record(repository, digest)
        if record is None or record.committed > whole.until:
            return False
        tags = manifest_table.tags_of(repository, digest)
        deleted = deletion.manifest_as_seen(repository, digest, record.generation, tags, whole.actor)
    except (Referenced, ManifestUnknown):
        return False
    if deleted:
        whole.unnamed.update(manifests.stored(content.content, content.media_type).references)
    return deleted


def _is_left_to_a_job(whole: Deletion) -> bool:
    """Whether a job is at it, which from now on deletes up to this moment."""
    for number in execution_table.unfinished(REPOSITORY_DELETION.vendor_type, number_of(whole.repository)):
        execution = execution_table.read(number)
        if execution is None or executions.reconcile(execution).status.is_final:
            continue
        try:
            executions.save_progress(execution, until=whole.until)
        except StoppedError:
            continue
        return True
    return False


def _leave_to_a_job(whole: Deletion) -> None:
    told = {"repository": whole.repository, "until": whole.until, "actor": vars(whole.actor)}
    try:
        executions.start(
            REPOSITORY_DELETION,
            number_of(whole.repository),
            Trigger.MANUAL,
            operator=whole.actor.name,
            extra=told,
        )
    except RunningError:
        _is_left_to_a_job(whole)


def of_execution(extra: Mapping[str, Any]) -> Deletion:
    """What an execution of the job is to delete."""
    return Deletion(extra["repository"], extra["until"], Actor(**extra["actor"]))
