"""Fetching one blob from an upstream registry: by the one holder of its lease, verified before anybody can see it.

A small blob comes in one piece, a large one through an upload session that whoever comes next goes on with. When all is
there and its digest is right, the project is charged for it, the blob is published as an uploaded one is, and what the
charge rests on is looked at again (docs/gc.md, "Charges"). Each step may be done again by another after a crash.
"""

from __future__ import annotations

import math
import secrets
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from chalicelib import retrying
from chalicelib.oci import digests
from chalicelib.oci.errors import BlobUnknown, BlobUploadUnknown, NameUnknown, QuotaExceeded, TooLarge, Unavailable
from chalicelib.oci.names import project_of
from chalicelib.projects import quotas, rules
from chalicelib.projects.records import Project
from chalicelib.proxycache import leases
from chalicelib.proxycache.filling import LANES
from chalicelib.proxycache.leases import Hold
from chalicelib.proxycache.reception import Download, HaltedError, RateLimiter
from chalicelib.proxycache.store import fills as table
from chalicelib.proxycache.store.fills import FillRequest
from chalicelib.proxycache.transfer import LARGEST, PIECE, Transfer
from chalicelib.registry import blobs, charges, upload_writer, uploads
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import uploads as upload_table
from chalicelib.registry.store.blobs import Blob
from chalicelib.registry.store.uploads import Session
from chalicelib.registry.upload_writer import OutOfOrderError, Writer
from chalicelib.settings import settings
from chalicelib.storage import blobstore
from chalicelib.storage.conditions import now
from chalicelib.upstreams import client as upstream
from chalicelib.upstreams import endpoints
from chalicelib.upstreams.client import Upstream
from chalicelib.upstreams.errors import UpstreamContentInvalid, UpstreamUnreachable

SPEED = "proxy_speed_kb"
"""The project's setting: kilobits a second that may come from upstream; -1 or none is no limit (swagger).

In Harbor each blob has so much for itself; here a project has, as the setting is described.
"""
_KILOBIT = 128
"""Bytes, as Harbor counts (src/lib/readers.go)."""
SAMPLE = 256 << 10
"""Bytes that upstream has to show of a blob that is here already."""
_ROUNDS = 4
"""How many pieces a connection is to end before the deadline, at the project's bandwidth: one breaks off then."""
_FAIR_SECONDS = 300.0
"""An attempt that had less time, at the end of a step, says nothing about upstream."""


class Outcome(StrEnum):
    """What came of an attempt."""

    DONE = "done"
    HELD = "held"
    """Another fetches the blob, or has taken over."""
    HALTED = "halted"
    """The time was over. The next attempt goes on."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a blob: a state machine's `execution` makes it, over so many connections, until `deadline`."""

    wanted: FillRequest
    execution: str
    connections: int
    deadline: float
    """Of time.monotonic."""


def fill(attempt: Attempt) -> Outcome:
    """Bring a blob that a repository of a proxy project wants into it.

    Raises UpstreamErrors, also when so little came that going on is in vain, EndpointNotFoundError, DigestInvalid when
    other bytes came, QuotaExceeded, TooLarge, NameUnknown when the project is gone, or Unavailable.
    """
    began = time.monotonic()
    with leases.held(attempt.wanted, attempt.execution, attempt.deadline) as hold:
        if hold is None:
            return Outcome.HELD
        filler = _Filler(attempt, hold)
        try:
            blob = filler.bring()
        except BlobUploadUnknown:  # the upload's time was over: the next begins anew
            return Outcome.HELD if hold.is_lost else Outcome.HALTED
        except HaltedError as error:
            if hold.is_lost:
                return Outcome.HELD
            if filler.is_stuck and time.monotonic() - began >= _FAIR_SECONDS:
                raise UpstreamUnreachable("upstream is too slow, or knows no ranges") from error
            return Outcome.HALTED
        except OutOfOrderError:
            return Outcome.HELD
        _settle_charge(attempt.wanted, blob)
        hold.is_done = True
        return Outcome.DONE


def _project_of(wanted: FillRequest) -> Project:
    """The project that wants a blob. Raises NameUnknown when it is gone, or another of its name has come after it."""
    project = rules.find(project_of(wanted.repository))
    if project is None or project.registry_id != wanted.registry:
        raise NameUnknown(f"the project of {wanted.repository} is gone")
    return project


def _settle_charge(wanted: FillRequest, blob: Blob) -> None:
    """Make sure that the project is charged if a manifest names the blob, now that it is there, and only then."""
    charges.add(wanted.repository, wanted.digest, blob.size)
    charges.free(wanted.repository, [wanted.digest])


class _Filler:
    """An attempt while its lease is held."""

    def __init__(self, attempt: Attempt, hold: Hold) -> None:
        self.is_stuck = True
        """Whether nothing, or too little, is kept of what came until the deadline."""
        self._hold, self._connections, self._deadline = hold, attempt.connections, attempt.deadline
        self._repository, self._digest = attempt.wanted.repository, attempt.wanted.digest
        self._remote = self._repository.partition("/")[2]
        self._registry = attempt.wanted.registry
        self._project = _project_of(attempt.wanted)
        self._rate = max(0, int(self._project.metadata.get(SPEED) or -1)) * _KILOBIT

    def bring(self) -> Blob:
        """The blob, once the repository has it."""
        for _ in retrying.attempts(retrying.LOW):
            with suppress(BlobUnknown):
                return blobs.find(self._repository, self._digest)
            known = blob_table.read_record(self._digest)
            if known is None:
                self._fetch(self._upstream())
            else:
                self._link(known, self._upstream())
        raise Unavailable(f"the blob {self._digest} is being changed")

    def _upstream(self) -> Upstream:
        return upstream.of(endpoints.get(self._registry))

    def _link(self, known: Blob, source: Upstream) -> None:
        """Let the repository serve what others have, if upstream has it for the project's credentials too."""
        self._require_possession(known, source)
        charges.add(self._repository, self._digest, known.size)
        blobs.link(self._repository, self._digest)

    def _require_possession(self, known: Blob, source: Upstream) -> None:
        """Compare the size and some bytes, at a place that nobody can foresee, or all of a small blob.

        A client that has only heard of a digest could claim the blob, and would be given another project's.
        """
        start = secrets.randbelow(max(1, known.size - SAMPLE + 1))
        end = min(start + SAMPLE, known.size)
        reception = self._reception(source)
        if start == end:
            self._require_size(known, reception, source)
            return
        with closing(reception.begin(start, end)) as body:
            self._require_size(known, reception, source)
            theirs = reception.part(start, end, body)
        ours = blobstore.get(known.object_key, start, end)
        if ours is not None and ours != theirs:  # without its object a blob is gone, and cannot be linked
            raise UpstreamContentInvalid("a part that it was asked for differs")

    def _require_size(self, known: Blob, reception: Download, source: Upstream) -> None:
        size = reception.total
        if size < 0:  # nothing was asked for yet, or it was not told
            size = reception.ask(partial(source.head_blob, self._remote, self._digest))
        if size != known.size:
            raise UpstreamContentInvalid(f"what upstream has as {self._digest} is of another size")

    def _reception(self, source: Upstream) -> Download:
        halt = self._hold.halt
        pace = RateLimiter(self._project.project_id, self._rate, halt)
        return Download(partial(source.open_blob, self._remote, self._digest), pace, halt)

    def _fetch(self, source: Upstream) -> None:
        session = self._begun()
        if session is not None and session.digest:
            self._publish(session)
        elif self._digest == digests.of(b"", digests.algorithm(self._digest)):
            source.head_blob(self._remote, self._digest)
            self._store(b"")
        else:
            self._transfer(source, session)

    def _transfer(self, source: Upstream, session: Session | None) -> None:
        reception, affordable = self._reception(source), self._affordable()
        start = session.offset if session else 0
        first = reception.begin(start, start + _first_size(session))
        with closing(first):
            total = reception.total
            if total > LARGEST:
                raise TooLarge(f"the blob has {total} bytes, which is too many for a proxy cache")
            self._require_room(total, session)
            if session is None and 0 < total <= min(PIECE, affordable / (LANES * _ROUNDS)):
                self._store(reception.whole(first))
                return
            session = session or self._started()
            writer = Writer(session, digests.algorithm(self._digest))
            connections = max(1, int(min(self._connections, affordable / (_ROUNDS * PIECE))))
            transfer = Transfer(reception, writer, start, connections, self._hold.halt)
            try:
                if first.status == 206:
                    completed = transfer.by_ranges(total, self._digest, first)
                else:
                    completed = transfer.by_stream(self._digest, first)
            except HaltedError:
                self.is_stuck = transfer.is_stuck
                raise
        self._publish(completed)

    def _affordable(self) -> float:
        """How many bytes the project's bandwidth lets come until the deadline."""
        return self._rate * max(0.0, self._deadline - time.monotonic()) if self._rate else math.inf

    def _require_room(self, total: int, session: Session | None) -> None:
        """Look whether a blob of so many bytes, if that is known, fits the project, before they come.

        Raises QuotaExceeded, and drops what came before.
        """
        try:
            stored = session.offset if session is not None else 0
            quotas.require_room(self._repository, max(total, 0), self._digest, stored=stored)
        except QuotaExceeded:
            if session is not None:
                uploads.discard(session)
            raise

    def _store(self, content: bytes) -> None:
        """Publish a small blob, which needs no session."""
        digests.verify(content, self._digest)
        self._hold.require()
        charges.add(self._repository, self._digest, len(content))
        uploads.store(self._repository, self._digest, content)

    def _publish(self, session: Session) -> None:
        """Publish what a completed session holds. Nothing is kept of what the project has no room for."""
        try:
            uploads.assemble(session)
        except BlobUploadUnknown:
            uploads.discard(session)
            raise
        try:
            charges.add(self._repository, self._digest, session.offset)
        except QuotaExceeded:
            uploads.discard(session)
            raise
        self._hold.require()
        blobs.publish(self._repository, self._digest, session.offset, session.object_key)

    def _begun(self) -> Session | None:
        """The session that an earlier holder has begun, with nobody else left who could write to it."""
        lease = self._hold.lease
        if not lease.upload or lease.repository != self._repository:
            return None
        for _ in retrying.attempts(retrying.LOW):
            session = upload_table.read(lease.upload)
            if session is None or _is_past(session):
                return None
            if session.digest:
                return session
            if taken := upload_writer.take_over(session):
                return taken
        raise Unavailable(f"the upload of {self._digest} is being written to")

    def _started(self) -> Session:
        """A new session, written down for the next holder."""
        session = uploads.start(self._repository, digests.algorithm(self._digest))
        if not table.note_upload(self._hold.lease, self._repository, session.id):
            uploads.discard(session)
            raise HaltedError
        return session


def _first_size(session: Session | None) -> int:
    """How many bytes to ask for first: a piece, or what the buffer has room for that begins with a session's tail."""
    if session is None:
        return PIECE
    return min(PIECE, upload_writer.part_size(session.next_part) - session.tail_size)


def _is_past(session: Session) -> bool:
    """Whether it was completed so long ago that its blob may have been published, and collected, since."""
    return bool(session.digest) and now() - session.completed > settings().url_seconds * 1000 // 2
