"""Blob uploads: sessions from their start to the blob that they become.

A session's first `offset` bytes are stored; a Writer (chalicelib/registry/upload_writer.py) adds to them. Nothing of
an upload is visible before it ends. To end it its session is marked completed, then S3 puts the parts together
(nothing is ever copied), then the object is published as a blob. Whoever repeats the request after a crash goes on
from the mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib import retrying
from chalicelib.oci import digests
from chalicelib.oci.errors import BlobUnknown, BlobUploadUnknown, DigestInvalid, NameUnknown, Unavailable
from chalicelib.oci.names import project_of
from chalicelib.projects import quotas, rules
from chalicelib.projects.store import projects as project_table
from chalicelib.registry import blobs, unreferenced
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import uploads as table
from chalicelib.registry.store.uploads import Session
from chalicelib.settings import settings
from chalicelib.storage import blobstore
from chalicelib.storage.blobstore import MultipartGoneError
from chalicelib.storage.conditions import now


def start(repository: str, algorithm: str = "sha256") -> Session:
    """A new session. `algorithm` is of the digest which the client means to end with.

    Raises DigestInvalid, NameUnknown without a project, or QuotaExceeded when it is full already.
    """
    digests.hasher(algorithm)
    quotas.require_room(repository, 1)
    project = rules.find(project_of(repository))
    if project is None:
        raise NameUnknown("the project is gone", detail={"name": repository})
    return table.create(repository, project.project_id, digests.of(b"", algorithm))


def find(repository: str, upload_id: str) -> Session:
    """A session that takes bytes. Raises BlobUploadUnknown, also when it is completed."""
    session = find_any(repository, upload_id)
    require_open(session)
    return session


def require_open(session: Session) -> None:
    """Raises BlobUploadUnknown when a session takes no more bytes."""
    if session.digest:
        raise BlobUploadUnknown("this upload is completed")


def find_any(repository: str, upload_id: str) -> Session:
    """A session, completed or not. Raises BlobUploadUnknown."""
    session = table.read(upload_id)
    if session is not None and session.repository == repository and _has_project(session):
        return session
    raise BlobUploadUnknown("no such upload: it was never started here, was cancelled, or took too long")


def _has_project(session: Session) -> bool:
    """Whether the session's project is there: by its number, since another may have its name."""
    return rules.find_numbered(project_of(session.repository), session.project_id) is not None


def cancel(session: Session) -> None:
    """Forget a session and what it stored. Raises BlobUploadUnknown when it is completed or gone."""
    for _ in retrying.attempts(retrying.MEDIUM):
        if discard(session):
            return
        session = find(session.repository, session.id)
    raise Unavailable("the upload is being written to")


def discard(session: Session) -> bool:
    """Forget a session and what it stored that became no blob. False when it has changed since it was read."""
    if not table.delete(session):
        return False
    if not session.digest:
        unreferenced.count(session.repository, -session.offset)
    _drop(session)
    if session.digest:
        _drop_unpublished(session)
    return True


def sweep() -> int:
    """Forget the sessions whose time is over, with what they stored that became no blob; returns how many.

    A scheduled Lambda's whole work. It may be cut off and run again.
    """
    count = 0
    for session in table.expired():
        count += discard(session)
    return count


def _drop_unpublished(session: Session) -> None:
    """Delete the object of a completed session that was never published, or lost to another of the same digest."""
    blob, _ = blob_table.read(session.repository, session.digest)
    if blob is None or blob.object_key != session.object_key:
        blobstore.delete(session.object_key)


def _drop(session: Session) -> None:
    if session.multipart:
        blobstore.abort_multipart(session.object_key, session.multipart)
    if session.tail_key:
        blobstore.delete(session.tail_key)


def store(repository: str, digest: str, content: bytes) -> None:
    """Make `content` a blob at once, without a session. Raises DigestInvalid or QuotaExceeded."""
    digests.verify(content, digest)
    quotas.require_room(repository, len(content), digest)
    key = blobstore.blob_key()
    blobstore.put(key, content, sha256_of(digest))
    blobs.publish(repository, digest, len(content), key)


def finish_session(session: Session) -> None:
    """Bring a completed session to its end: the object whole, verified, and published. May be done again.

    Raises as `assemble`. A session that was completed long ago is not published again: its blob may have been collected
    since.
    """
    if now() - session.completed > settings().url_seconds * 1000 // 2:
        try:
            blobs.find(session.repository, session.digest)
        except BlobUnknown:
            raise BlobUploadUnknown("this upload was completed, and its blob deleted") from None
        return
    assemble(session)
    project = project_table.read(project_of(session.repository))
    if project is None or project.project_id != session.project_id:
        discard(session)
        raise BlobUploadUnknown("the project of this upload is gone")
    blobs.publish(session.repository, session.digest, session.offset, session.object_key)


def assemble(session: Session) -> None:
    """Make the object of a completed session whole, and be sure of its digest. May be done again.

    Raises DigestInvalid (and nothing stays) when the bytes turn out to be others, BlobUploadUnknown when they are gone.
    """
    if session.multipart:
        with gone_is_unknown():
            blobstore.complete_multipart(session.object_key, session.multipart, session.parts)
    if session.prefix_digest != session.digest:
        _verify(session)


def _verify(session: Session) -> None:
    """Hash an object whose digest nobody knows: the bytes came to several processes, or the algorithm is another."""
    hasher = digests.hasher(digests.algorithm(session.digest))
    for chunk in blobstore.stream(session.object_key):
        hasher.update(chunk)
    actual = f"{digests.algorithm(session.digest)}:{hasher.hexdigest()}"
    if actual != session.digest:
        table.delete(session)
        blobstore.delete(session.object_key)
        raise DigestInvalid(f"the content's digest is {actual}, not {session.digest}")


@contextmanager
def gone_is_unknown() -> Iterator[None]:
    """Tell the client of a multipart upload that S3 has dropped as of an upload that never was."""
    try:
        yield
    except MultipartGoneError as error:
        raise BlobUploadUnknown("the store has dropped this upload") from error


def sha256_of(digest: str) -> str:
    """The hex of a sha256 digest, for S3 to check; empty for another or an unknown one."""
    return digest.removeprefix("sha256:") if digest.startswith("sha256:") else ""
