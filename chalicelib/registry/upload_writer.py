"""Adding bytes to an upload: hashed once as they pass, stored as parts, never mixed with another attempt's.

Bytes are added by a `Writer`, one attempt each, and count once the session's item says so, in a write that is
conditional on the version that the attempt began with: of two attempts at once one is told to look where the upload
stands (OutOfOrderError), and bytes of both never mix. An attempt reserves the numbers of the S3 parts that it writes
by such a write too, before it writes any, and no number is reserved twice, so one that was overtaken cannot replace a
part that another has recorded.

An upload of less than one part is a single object. Bytes that are too few for a part wait in a tail object.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, replace

from chalicelib.oci import digests
from chalicelib.oci.digests import Hasher
from chalicelib.oci.errors import BlobUploadUnknown, DigestInvalid, QuotaExceeded, TooLarge, Unavailable
from chalicelib.projects import quotas
from chalicelib.registry import unreferenced, uploads
from chalicelib.registry.store import uploads as table
from chalicelib.registry.store.uploads import Session
from chalicelib.registry.uploads import gone_is_unknown, sha256_of
from chalicelib.storage import blobstore
from chalicelib.storage.blobstore import Part
from chalicelib.storage.conditions import now
from chalicelib.timed_cache import TimedCache

Buffer = bytes | bytearray | memoryview

_MIB = 1 << 20
_PART = 16 * _MIB
_LEAST_PART = 5 * _MIB
"""What S3 demands of every part but the last."""
_PARTS = 10_000
"""How many parts an S3 object may have."""
_EVEN_PARTS, _PARTS_A_DOUBLING = 5_000, 625
"""Up to 78 GiB parts are of one size; then it doubles now and then, so that 10,000 parts hold S3's 5 TiB."""

_RESERVED = 16
"""Part numbers that an attempt reserves at a time. Those that it leaves unused are lost when it is overtaken."""
_PROGRESS = 64 * _MIB
"""How much an interrupted upload may have to send again."""
_HASHERS, _HASHER_SECONDS = 256, 3600

_hashers: TimedCache[tuple[str, str], Hasher] = TimedCache(_HASHERS)
"""By upload and version: the hash of the bytes so far, for the chunk that comes next to the same process."""


class OutOfOrderError(Exception):
    """Bytes that do not go on where the upload stands: at `session.offset`."""

    def __init__(self, session: Session) -> None:
        super().__init__(f"the upload stands at {session.offset}")
        self.session = session


def part_size(number: int) -> int:
    """How many bytes part `number` should have."""
    return _PART << _doublings(number)


def _least_part(number: int) -> int:
    return _LEAST_PART << _doublings(number)


def _doublings(number: int) -> int:
    beyond = number - _EVEN_PARTS - 1
    return 0 if beyond < 0 else 1 + beyond // _PARTS_A_DOUBLING


@dataclass(frozen=True)
class _Stored:
    """A buffer that has become a part. `digest` is that of all bytes up to its end, if known."""

    part: Part
    size: int
    digest: str


class Writer:
    """One attempt to add bytes to a session, from its offset on.

    The bytes come in buffers, counted from 0: all but the last of
    `buffer_size(index)` bytes, or at least `least_size(index)`, handed to `send` in any
    order and from several threads at once; then the last, of any size, to `append` or `complete`. Buffer 0 must begin
    with `head()`. Every method may raise OutOfOrderError or BlobUploadUnknown, when another attempt has changed or
    ended the session, and Unavailable, after which what was recorded stays recorded.
    """

    def __init__(self, session: Session, algorithm: str = "") -> None:
        """`algorithm` is of the digest that the client ends with, when it is known already."""
        self._session = session
        self._first = session.next_part
        self._digest = session.prefix_digest
        if session.parts:
            self._algorithm = digests.algorithm(session.prefix_digest)
            self._hasher = _recall(session)
            self._hashed_before = session.tail_size
        else:  # all that came is the tail, which buffer 0 brings again
            self._algorithm = algorithm or digests.algorithm(session.prefix_digest)
            self._hasher = digests.hasher(self._algorithm)
            self._hashed_before = 0
        self._hashed = 0
        self._stored: dict[int, _Stored] = {}
        self._recorded = 0
        self._failed = False
        self._turn = threading.Condition()
        self._writing = threading.Lock()

    @property
    def head_size(self) -> int:
        """How many bytes `head` gives."""
        return self._session.tail_size

    def buffer_size(self, index: int) -> int:
        return part_size(self._first + index)

    def least_size(self, index: int) -> int:
        """What a buffer that is not the last must have."""
        return _least_part(self._first + index)

    def head(self) -> bytes:
        """The session's tail: bytes that count already but are in no part."""
        if not self._session.tail_key:
            return b""
        tail = blobstore.get(self._session.tail_key)
        if tail is None:
            raise self._overtaken()
        return tail

    def send(self, index: int, data: Buffer) -> None:
        """Hash a buffer when its turn comes, and store it as a part."""
        try:
            self._put_part(index, data, self._hash(index, data))
            with self._writing:
                ready = self._ready()
                if sum(stored.size for stored in ready) >= _PROGRESS:
                    self._write(self._advanced(ready))
        except BaseException:
            with self._turn:
                self._failed = True
                self._turn.notify_all()
            raise

    def append(self, index: int, rest: Buffer) -> Session:
        """Store the last buffer, and record all that came. Returns the session as it stands then."""
        ready = self._ready()
        if not rest:
            return self._remember(self._write(replace(self._advanced(ready), next_part=self._first + index)))
        digest = self._hash(index, rest)
        alone = self._alone(index)
        if len(rest) >= _least_part(self._first + index) and not (alone and not self._session.offset):
            self._put_part(index, rest, digest)
            after = replace(self._advanced(self._ready()), next_part=self._first + index + 1)
            return self._remember(self._write(after))
        key = blobstore.blob_key() if alone else blobstore.tail_key()
        blobstore.put(key, rest, sha256_of(digest) if alone else "")
        after = self._advanced(ready)
        after = replace(
            after,
            offset=after.offset - after.tail_size + len(rest),
            prefix_digest=digest,
            tail_key=key,
            tail_size=len(rest),
            next_part=self._first + index,
        )
        return self._remember(self._write(after, made=key))

    def keep(self) -> None:
        """Record the leading buffers that are stored, when a later one failed."""
        with self._writing:
            if ready := self._ready():
                self._write(self._advanced(ready))

    def complete(self, index: int, rest: Buffer | None, digest: str) -> None:
        """Store the last buffer, None when nothing came at all, and make the upload the blob `digest`.

        Raises DigestInvalid when the bytes are others, QuotaExceeded when they are too many for the project; the upload
        is then cancelled.
        """
        try:
            completed = self.finish(index, rest, digest)
        except BlobUploadUnknown:
            completed = uploads.find_any(self._session.repository, self._session.id)
            if completed.digest != digest:
                raise  # and otherwise the same request, sent twice, is here twice
        uploads.finish_session(completed)

    def finish(self, index: int, rest: Buffer | None, digest: str) -> Session:
        """As `complete`, but the upload is only marked as completed: what is to be done with it is left to do."""
        if rest is None and self._session.parts and self._session.tail_key:
            rest = self.head()
        actual = self._hash(index, rest or b"")
        if actual != digest and digests.algorithm(actual) == digests.algorithm(digest):
            self._cancel()
            raise DigestInvalid(f"the content's digest is {actual}, not {digest}")
        self._require_room(rest, digest)
        if self._alone(index):
            return self._complete_object(rest, actual, digest)
        if rest:
            self._put_part(index, rest, actual)
        after = replace(self._advanced(self._ready()), prefix_digest=actual)
        return self._write(replace(after, tail_key="", tail_size=0, digest=digest, completed=now()))

    def _require_room(self, rest: Buffer | None, digest: str) -> None:
        """Cancel an upload that is too large for its project. Raises QuotaExceeded."""
        session = self._advanced(self._ready())
        size = session.offset - session.tail_size + len(rest) if rest else session.offset
        try:
            quotas.require_room(session.repository, size, digest, stored=self._session.offset)
        except QuotaExceeded:
            self._cancel()
            raise

    def _cancel(self) -> None:
        """Forget the session, unless it has come to be another attempt's."""
        if not uploads.discard(self._session):
            raise self._overtaken()

    def _complete_object(self, rest: Buffer | None, actual: str, digest: str) -> Session:
        """The whole upload is `rest`, or the tail that is stored already."""
        before, key, made = self._session, self._session.tail_key, ""
        if rest or not key:
            key = made = blobstore.blob_key()
            blobstore.put(key, rest or b"", sha256_of(actual))
        after = replace(
            before,
            offset=len(rest) if rest else before.offset,
            prefix_digest=actual,
            object_key=key,
            multipart="",
            tail_key="",
            tail_size=0,
            digest=digest,
            completed=now(),
        )
        written = self._write(after, made=made)
        if before.multipart:
            blobstore.abort_multipart(before.object_key, before.multipart)
        return written

    def _alone(self, index: int) -> bool:
        """Whether buffer `index` is all that the upload holds."""
        return index == 0 and not self._session.parts

    def _hash(self, index: int, data: Buffer) -> str:
        """Take `data` into the hash, after the buffers before it. The digest of all bytes so far, empty if unknown."""
        with self._turn:
            self._turn.wait_for(lambda: self._hashed == index or self._failed)
            if self._failed:
                raise Unavailable("another part of this upload could not be stored")
        fresh_bytes = memoryview(data)[self._hashed_before if index == 0 else 0 :]
        if self._hasher is None and fresh_bytes:
            self._digest = ""
        elif self._hasher is not None and fresh_bytes:
            self._hasher.update(fresh_bytes)
            self._digest = f"{self._algorithm}:{self._hasher.hexdigest()}"
        digest = self._digest
        with self._turn:
            self._hashed += 1
            self._turn.notify_all()
        return digest

    def _put_part(self, index: int, data: Buffer, digest: str) -> None:
        number = self._first + index
        self._reserve(number)
        with gone_is_unknown():
            etag = blobstore.put_part(self._session.object_key, self._session.multipart, number, data)
        self._stored[index] = _Stored((number, etag), len(data), digest)

    def _reserve(self, number: int) -> None:
        """Make sure that this attempt alone may write part `number`, of a multipart upload that has been started."""
        if number > _PARTS:
            raise TooLarge("an upload of this size does not fit the store")
        with self._writing:
            session = self._session
            if session.multipart and number < session.next_part:
                return
            key = session.object_key or blobstore.blob_key()
            multipart = session.multipart or blobstore.create_multipart(key)
            after = replace(session, object_key=key, multipart=multipart, next_part=number + _RESERVED)
            try:
                self._write(after)
            except (OutOfOrderError, BlobUploadUnknown):
                if not session.multipart:
                    blobstore.abort_multipart(key, multipart)
                raise

    def _ready(self) -> list[_Stored]:
        """The stored buffers, not recorded yet, that follow on what is recorded."""
        ready: list[_Stored] = []
        while (stored := self._stored.get(self._recorded + len(ready))) is not None:
            ready.append(stored)
        return ready

    def _advanced(self, ready: list[_Stored]) -> Session:
        """The session once `ready` is recorded. Buffer 0 holds the bytes of the tail, which thereby ends."""
        session = self._session
        if not ready:
            return session
        return replace(
            session,
            offset=session.offset - session.tail_size + sum(stored.size for stored in ready),
            prefix_digest=ready[-1].digest,
            parts=session.parts + tuple(stored.part for stored in ready),
            tail_key="",
            tail_size=0,
        )

    def _write(self, after: Session, made: str = "") -> Session:
        """Record `after`, or drop the object `made` for it and say where the upload stands instead."""
        before = self._session
        written = table.write(before, after)
        if written is None:
            if made:
                blobstore.delete(made)
            raise self._overtaken()
        self._session = written
        unreferenced.count_progress(before, written)
        self._recorded += len(written.parts) - len(before.parts)
        if before.tail_key and before.tail_key not in (written.tail_key, written.object_key):
            with suppress(Unavailable):  # the upload goes on; a lifecycle rule drops the tail
                blobstore.delete(before.tail_key)
        return written

    def _remember(self, written: Session) -> Session:
        if self._hasher is not None:
            _hashers.put((written.id, written.version), self._hasher, _HASHER_SECONDS)
        return written

    def _overtaken(self) -> OutOfOrderError:
        return OutOfOrderError(uploads.find(self._session.repository, self._session.id))


def take_over(session: Session) -> Session | None:
    """Make sure that no attempt that has begun writes to `session` any more. None when it has changed meanwhile."""
    hasher = _recall(session)
    taken = table.write(session, session)
    if taken is not None and hasher is not None:
        _hashers.put((taken.id, taken.version), hasher, _HASHER_SECONDS)
    return taken


def _recall(session: Session) -> Hasher | None:
    """The hash of the bytes so far, if this very process took in the last of them."""
    known = _hashers.get((session.id, session.version))
    return known[0].copy() if known else None
