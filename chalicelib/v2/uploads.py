"""Uploads over HTTP: their addresses, ranges and statuses. The relay shares all of it but the way that bodies come.

Source: OCI distribution-spec 1.1, "Pushing blobs". An upload's address carries `_state`, a signed grant for just this
upload that expires with it: clients send no credentials to another host than the registry's, which the relay may be.
It serves its owner, for as long as that may push (chalicelib/access/owners.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.access import keys, owners
from chalicelib.access.authentication import Caller, Owner
from chalicelib.events.records import ANONYMOUS_NAME, Actor
from chalicelib.http import Request, Response
from chalicelib.oci import digests
from chalicelib.oci.errors import (
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    QuotaExceeded,
    RangeInvalid,
    SizeInvalid,
    TooLarge,
    Unsupported,
)
from chalicelib.oci.names import Target
from chalicelib.projects import quota_events, quotas
from chalicelib.registry import blobs, uploads
from chalicelib.registry.store import uploads as upload_table
from chalicelib.registry.store.uploads import Session
from chalicelib.registry.upload_writer import Buffer, OutOfOrderError, Writer
from chalicelib.settings import settings

_CONTENT_RANGE = re.compile(r"(?:bytes )?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?\Z")
_LENGTH = re.compile(r"[0-9]{1,18}\Z")

_VERIFIABLE = 256 << 20
"""What a function can surely read back and hash within the gateway's 30 seconds, in bytes."""


@dataclass(frozen=True)
class Receiving:
    """A PATCH or PUT that may bring its body: `length` bytes, or as many as come when that is None.

    The body goes to `writer` (see Writer), behind the bytes of `head`; its last buffer, None when no byte came, to
    `end`, which answers the request. `require_room` raises QuotaExceeded when so many bytes do not fit the project.
    """

    writer: Writer
    length: int | None
    end: Callable[[int, Buffer | None], Response]
    require_room: Callable[[int], None]
    head: Callable[[], bytes]


def handle(request: Request, target: Target, caller: Caller | None) -> Response:
    """Answer a request that has arrived whole. `caller` is None when the upload's address authorised it."""
    if target.kind == "uploads" and request.method == "POST" and caller is not None:
        with _refusal_told(request, target, caller.name):
            return _start(request, target, caller)
    begun = begin(request, target, caller, verifiable=_VERIFIABLE)
    if isinstance(begun, Response):
        return begun
    _check_length(request.body, begun.length)
    if begun.length is None:
        begun.require_room(len(request.body))
    return begun.end(0, begun.head() + request.body if request.body else None)


def begin(
    request: Request, target: Target, caller: Caller | None = None, *, verifiable: int | None = None
) -> Response | Receiving:
    """Begin to answer a request for an upload that was started before. Without a `caller` its address authorises it.

    `verifiable` is the largest upload, in bytes, that there is time to read back and verify; None when there always
    is. Returns the answer when it needs no body.
    """
    method = _METHODS.get(request.method) if target.kind == "upload" else None
    if method is None:
        raise Unsupported(f"{request.method} is not defined for uploads")
    session = uploads.find_any(target.repository, target.reference)
    owner = caller.owner if caller is not None else _owner_of(request)
    if caller is None:
        _require_owner(owner, session)
    with _refusals(request, target, owner):
        begun = method(request, session, owner, verifiable)
    if isinstance(begun, Response):
        return begun

    def end(index: int, rest: Buffer | None) -> Response:
        if caller is None and request.method == "PUT":
            _require_owner(owner, session, anew=True)  # what follows makes it a blob of the project
        with _refusals(request, target, owner):
            return begun.end(index, rest)

    def require_room(size: int) -> None:
        with _refusals(request, target, owner):
            begun.require_room(size)

    def head() -> bytes:
        with _refusals(request, target, owner):
            return begun.head()

    return replace(begun, end=end, require_room=require_room, head=head)


def _require_owner(owner: Owner, session: Session, *, anew: bool = False) -> None:
    """Raises BlobUploadUnknown when the owner of an upload may not go on with it any more."""
    if not owners.may_still_push(owner, session.repository, session.project_id, anew=anew):
        raise BlobUploadUnknown("the owner of this upload may not push here any more")


@contextmanager
def _refusals(request: Request, target: Target, owner: Owner) -> Iterator[None]:
    """Answer bytes that do not go on where the upload stands, and publish that a project has no room."""
    try:
        with _refusal_told(request, target, owner.name):
            yield
    except OutOfOrderError as error:
        raise RangeInvalid(str(error), headers=_where(error.session, owner)) from None


@contextmanager
def _refusal_told(request: Request, target: Target, user: str) -> Iterator[None]:
    """Tell webhooks when the project has no room for what is uploaded in the context."""
    try:
        yield
    except QuotaExceeded as error:
        actor = Actor(user or ANONYMOUS_NAME, request.address)
        quota_events.tell_exceeded(actor, target.repository, error.message)
        raise


def is_capability(request: Request, target: Target) -> bool:
    """Whether the address itself authorises the request. Raises when it tries to and may not."""
    if "_state" not in request.query:
        return False
    claims = _claims(request)
    if (claims.get("repository"), claims.get("upload")) != (target.repository, target.reference):
        raise BlobUploadInvalid("the address is that of another upload")
    return True


def user_of(request: Request) -> str:
    """The user who began the upload that an address is of; empty when it does not say. Raises as `is_capability`."""
    return _owner_of(request).name


def _owner_of(request: Request) -> Owner:
    claims = _claims(request)
    return Owner(claims.get("user", ""), claims.get("number", 0), claims.get("stamp", ""))


def _claims(request: Request) -> dict[str, Any]:
    """What the address says by its signature; nothing when it has none.

    Raises BlobUploadUnknown when its time is over, or BlobUploadInvalid.
    """
    if "_state" not in request.query:
        return {}
    try:
        return keys.verify(request.query["_state"], keys.UPLOAD_AUDIENCE)
    except keys.TokenExpiredError:
        raise BlobUploadUnknown("this upload's time is over") from None
    except keys.TokenInvalidError:
        raise BlobUploadInvalid("the upload's address is not one that this registry gave") from None


def _chunk_length(request: Request, session: Session) -> int | None:
    """How many bytes the body must have, None when only its end tells.

    Raises OutOfOrderError when the chunk is not the next one, SizeInvalid when the headers contradict each other.
    """
    declared = _content_length(request)
    content_range = request.headers.get("content-range")
    if content_range is None:
        return declared
    match = _CONTENT_RANGE.match(content_range)
    first, last = (int(match[1]), int(match[2])) if match else (0, -1)
    if last < first and declared == 0:
        return 0  # no range says that nothing comes (RFC 9110, section 14.4): clients write `0--1`, or `bytes */0`
    if last < first:
        raise BlobUploadInvalid(f"{content_range[:80]!r} is not a range of bytes: expected <first>-<last>")
    length = last - first + 1
    if declared not in (None, length):
        raise SizeInvalid(f"Content-Range names {length} bytes and Content-Length {declared}")
    if first != session.offset:
        raise OutOfOrderError(session)
    return length


def _wanted_digest(request: Request) -> str:
    """The digest that an upload is to end with. Raises DigestInvalid."""
    if "digest" not in request.query:
        raise DigestInvalid("an upload ends with ?digest=<digest of the blob>")
    return digests.parse(request.query["digest"])


def _start(request: Request, target: Target, caller: Caller) -> Response:
    query, repository = request.query, target.repository
    mounted = query.get("mount")
    if mounted and blobs.mount(caller, repository, digests.parse(mounted), query.get("from", "")):
        return _created(repository, mounted)
    if "digest" in query:
        digest = _wanted_digest(request)
        _check_length(request.body, _content_length(request))
        uploads.store(repository, digest, request.body)
        return _created(repository, digest)
    return _progress(202, uploads.start(repository, query.get("digest-algorithm", "sha256")), caller.owner)


def _append(request: Request, session: Session, owner: Owner, verifiable: int | None) -> Receiving | Response:
    uploads.require_open(session)
    length = _chunk_length(request, session)
    _require_verifiable(session.offset + (length or 0), verifiable)
    writer = Writer(session)
    require_room = _room_of(session)
    if length:
        require_room(length)  # before it is sent, that is

    def end(index: int, rest: Buffer | None) -> Response:
        return _progress(202, session if rest is None else writer.append(index, rest), owner)

    return Receiving(writer, length, end, require_room, writer.head)


def _finish(request: Request, session: Session, _owner: Owner, verifiable: int | None) -> Receiving | Response:
    """End an upload. Once it is completed, the same request again, with or without its body, is answered alike."""
    digest = _wanted_digest(request)
    algorithm = digests.algorithm(digest)
    if session.digest and session.digest != digest:
        raise BlobUploadInvalid(f"this upload has become {session.digest}")
    if session.digest:
        uploads.finish_session(session)
        return _created(session.repository, digest)
    length = _chunk_length(request, session)
    require_room = _room_of(session, digest)
    if length:
        require_room(length)
    if length or algorithm != digests.algorithm(session.prefix_digest):
        _require_verifiable(session.offset + (length or 0), verifiable)
    writer = Writer(session, algorithm)

    def end(index: int, rest: Buffer | None) -> Response:
        writer.complete(index, rest, digest)
        return _created(session.repository, digest)

    return Receiving(writer, length, end, require_room, writer.head)


def _room_of(session: Session, digest: str = "") -> Callable[[int], None]:
    """What raises QuotaExceeded when so many bytes more do not fit the session's project."""

    def require(size: int) -> None:
        quotas.require_room(session.repository, session.offset + size, digest, stored=session.offset)

    return require


def _status(_request: Request, session: Session, owner: Owner, _verifiable: int | None) -> Response:
    uploads.require_open(session)
    return _progress(204, session, owner)


def _cancel(_request: Request, session: Session, _owner: Owner, _verifiable: int | None) -> Response:
    uploads.require_open(session)
    uploads.cancel(session)
    return Response(204)


_METHODS: dict[str, Callable[[Request, Session, Owner, int | None], Receiving | Response]] = {
    "PATCH": _append,
    "PUT": _finish,
    "GET": _status,
    "HEAD": _status,
    "DELETE": _cancel,
}


def _created(repository: str, digest: str) -> Response:
    location = f"{settings().registry_url}/v2/{repository}/blobs/{digest}"
    return Response(201, {"Location": location, "Docker-Content-Digest": digest, "Content-Length": "0"})


def _progress(status: int, session: Session, owner: Owner) -> Response:
    length = {} if status == 204 else {"Content-Length": "0"}
    return Response(status, {**_where(session, owner), **length})


def _require_verifiable(size: int, verifiable: int | None) -> None:
    if verifiable is not None and size > verifiable:
        raise TooLarge(
            f"{size} bytes cannot be verified within a request: upload them in one request through the upload relay, "
            "which the operator has to configure (BERTH_RELAY_URL)"
        )


def _check_length(content: bytes, length: int | None) -> None:
    if length not in (None, len(content)):
        raise SizeInvalid(f"{len(content)} bytes arrived of {length}")


def _content_length(request: Request) -> int | None:
    text = request.headers.get("content-length")
    if text is not None and not _LENGTH.match(text):
        raise SizeInvalid("Content-Length is not a number of bytes")
    return None if text is None else int(text)


def _where(session: Session, owner: Owner) -> dict[str, str]:
    """Where an upload stands, and where to go on: of nothing at all the range is 0-0 too, as in `distribution`."""
    given = {"user": owner.name, "number": owner.number, "stamp": owner.stamp}
    claims = {"repository": session.repository, "upload": session.id, **given}
    state = keys.sign(claims, keys.UPLOAD_AUDIENCE, upload_table.seconds_left(session))
    return {
        "Location": f"{settings().relay_url}/v2/{session.repository}/blobs/uploads/{session.id}?_state={state}",
        "Range": f"0-{max(session.offset - 1, 0)}",
        "Docker-Upload-UUID": session.id,
    }
