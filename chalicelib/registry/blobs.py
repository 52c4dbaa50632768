"""Blobs of a repository: finding, publishing and mounting them. The promises made here are docs/gc.md's."""

from __future__ import annotations

from chalicelib import retrying
from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import permitted
from chalicelib.oci import names
from chalicelib.oci.errors import BlobUnknown, Unavailable
from chalicelib.projects import quotas
from chalicelib.registry.store import blobs as table
from chalicelib.registry.store.blobs import CONDEMNED, Blob
from chalicelib.settings import settings
from chalicelib.storage import blobstore
from chalicelib.storage.conditions import now
from chalicelib.timed_cache import TimedCache

_MOUNT_SOURCES = 10
"""How many repositories of the project are looked at for a mount that names no source."""

_PULLED_SECONDS = 5
_pulled: TimedCache[tuple[str, str], Blob] = TimedCache(4096)
"""What was found lately: a layer that many nodes pull at once is read from the table once in 5 seconds."""


def find_to_pull(repository: str, digest: str) -> Blob:
    """As `find`, but up to 5 seconds old: only for callers who cannot push, so that no push relies on the answer."""
    cached = _pulled.get((repository, digest))
    if cached is not None:
        return cached[0]
    return _pulled.put((repository, digest), find(repository, digest), _PULLED_SECONDS)


def forget(repository: str, digest: str) -> None:
    """A blob was taken out of a repository: what this process remembers of it is no longer so."""
    _pulled.drop((repository, digest))


def find(repository: str, digest: str) -> Blob:
    """The blob that `repository` serves under `digest`, kept for a push that relies on it. Raises BlobUnknown."""
    for _ in retrying.attempts(retrying.MEDIUM):
        blob, link = table.read(repository, digest)
        if blob is None or link is None or link.object_key != blob.object_key:
            raise BlobUnknown(f"{repository} has no blob {digest}")
        if keep(blob):
            return blob
    raise Unavailable(f"the blob {digest} is being changed")


def keep(blob: Blob) -> bool:
    """Make good that a client is told of `blob`: rescue a condemned one, renew a candidate that has waited long.

    Returns False when the blob was collected since it was read, so that the caller reads again.
    """
    return not is_at_risk(blob, now()) or table.touch(blob.digest, blob.object_key)


def is_at_risk(blob: Blob, time: int) -> bool:
    """Whether a blob is condemned, or has been a candidate so long at `time` (milliseconds) that it may be soon."""
    renew_before = time - settings().candidate_renew_seconds * 1000
    waits = blob.candidate_since is not None and blob.candidate_since < renew_before
    return blob.state == CONDEMNED or waits


def publish(repository: str, digest: str, size: int, object_key: str) -> str:
    """Make an uploaded object the blob `digest` of `repository`; the first to publish a digest wins.

    Returns the object key in use. When that is another's, the object of `object_key` is deleted: nobody knows it.
    """
    for _ in retrying.attempts(retrying.MEDIUM):
        blob, link = table.read(repository, digest)
        if blob is None:
            if table.create(digest, object_key, size):
                _link_uploaded(repository, digest, object_key, size, None)
                return object_key
        elif keep(blob):
            _link_uploaded(repository, digest, blob.object_key, size, link)
            if blob.object_key != object_key:
                blobstore.delete(object_key)
            return blob.object_key
    raise Unavailable(f"the blob {digest} is being changed")


def _link_uploaded(repository: str, digest: str, object_key: str, size: int, link: table.Link | None) -> None:
    """Link a repository to what it has uploaded; `link` is what it had before."""
    from chalicelib.registry import unreferenced  # noqa: PLC0415 -- pulls do without

    current = link if link is not None and link.object_key == object_key else None
    uploaded = unreferenced.count_published(repository, size, digest, current)
    table.put_link(repository, digest, object_key, uploaded=uploaded)


def link(repository: str, digest: str) -> bool:
    """Let `repository` serve the blob that the registry has of `digest`. False when it has none."""
    for _ in retrying.attempts(retrying.MEDIUM):
        blob = table.read_record(digest)
        if blob is None:
            return False
        if keep(blob):
            table.put_link(repository, digest, blob.object_key)
            return True
    raise Unavailable(f"the blob {digest} is being changed")


def mount(caller: Caller, repository: str, digest: str, source: str) -> bool:
    """Link `repository` to a blob that `caller` may pull from `source`, or from the same project when that is empty.

    Other projects are not looked through: the time that it takes would show who has the digest (decisions/bounds.md).

    False when there is none: the client then uploads (distribution-spec, "Mounting a blob from another repository").
    Raises QuotaExceeded.
    """
    if source and not names.is_repository(source):
        return False
    project = names.project_of(repository)
    for candidate in [source] if source else table.links_in_project(digest, project, _MOUNT_SOURCES):
        if "pull" in permitted(caller, candidate) and link_from(candidate, repository, digest):
            return True
    return False


def link_from(source: str, repository: str, digest: str) -> bool:
    """Link `repository` to a blob of `source`, which the caller has been allowed. False when it has none.

    Raises QuotaExceeded.
    """
    try:
        blob = find(source, digest)
    except BlobUnknown:
        return False
    quotas.require_room(repository, blob.size, digest, stored=blob.size)
    table.put_link(repository, digest, blob.object_key)
    return True
