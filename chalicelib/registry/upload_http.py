"""Uploads over HTTP: their addresses, ranges and statuses. The relay shares all of it but the way that bodies come.

Source: OCI distribution-spec 1.1, "Pushing blobs". An upload's address carries `_state`, a signed grant for just this
upload that expires with it: clients send no credentials to another host than the registry's, which the relay may be.
"""

from __future__ import annotations

import re

from chalicelib.access import keys
from chalicelib.access.authentication import Caller
from chalicelib.registry import blobs, digests, uploads
from chalicelib.registry.errors import (
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    RangeInvalid,
    SizeInvalid,
    TooLarge,
    Unsupported,
)
from chalicelib.registry.http import Request, Response
from chalicelib.registry.names import Target
from chalicelib.registry.uploads import OutOfOrderError, Writer
from chalicelib.settings import settings
from chalicelib.storage.uploads import Session

_AUDIENCE = "upload"
_CONTENT_RANGE = re.compile(r"(?:bytes )?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?\Z")
_LENGTH = re.compile(r"[0-9]{1,18}\Z")

_VERIFIABLE = 256 << 20
"""What a function can surely read back and hash within the gateway's 30 seconds, in bytes."""


def handle(request: Request, target: Target, caller: Caller | None) -> Response:
    """Answer a request for an upload that has arrived whole. `caller` is None when its address authorised it."""
    try:
        if target.kind == "uploads" and request.method == "POST" and caller is not None:
            return _start(request, target, caller)
        answer = _METHODS.get(request.method) if target.kind == "upload" else None
        if answer is None:
            raise Unsupported(f"{request.method} is not defined for uploads")
        return answer(request, target)
    except OutOfOrderError as error:
        raise out_of_order(error) from None


def is_capability(request: Request, target: Target) -> bool:
    """Whether the address itself authorises the request. Raises when it tries to and may not."""
    state = request.query.get("_state")
    if state is None:
        return False
    try:
        claims = keys.verify(state, _AUDIENCE)
    except keys.TokenExpiredError:
        raise BlobUploadUnknown("this upload's time is over") from None
    except keys.TokenInvalidError:
        raise BlobUploadInvalid("the upload's address is not one that this registry gave") from None
    if (claims.get("repository"), claims.get("upload")) != (target.repository, target.reference):
        raise BlobUploadInvalid("the address is that of another upload")
    return True


def chunk_length(request: Request, session: Session) -> int | None:
    """How many bytes the body must have, None when only its end tells.

    Raises OutOfOrderError when the chunk is not the next one, SizeInvalid when the headers contradict each other.
    """
    declared = _content_length(request)
    content_range = request.headers.get("content-range")
    if content_range is None:
        return declared
    match = _CONTENT_RANGE.match(content_range)
    first, last = (int(match[1]), int(match[2])) if match else (0, -1)
    if last < first:
        raise BlobUploadInvalid(f"{content_range[:80]!r} is not a range of bytes: expected <first>-<last>")
    length = last - first + 1
    if declared not in (None, length):
        raise SizeInvalid(f"Content-Range names {length} bytes and Content-Length {declared}")
    if first != session.offset:
        raise OutOfOrderError(session)
    return length


def wanted_digest(request: Request) -> str:
    """The digest that an upload is to end with. Raises DigestInvalid."""
    if "digest" not in request.query:
        raise DigestInvalid("an upload ends with ?digest=<digest of the blob>")
    return digests.parse(request.query["digest"])


def finish_again(session: Session, digest: str) -> Response:
    """The answer to a repeated request to end an upload that is completed."""
    if session.digest != digest:
        raise BlobUploadInvalid(f"this upload has become {session.digest}")
    uploads.settle(session)
    return created(session.repository, digest)


def created(repository: str, digest: str) -> Response:
    return Response(
        201, {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest, "Content-Length": "0"}
    )


def progress(status: int, session: Session) -> Response:
    return Response(status, {**_where(session), "Content-Length": "0"} if status != 204 else _where(session))


def out_of_order(error: OutOfOrderError) -> RangeInvalid:
    return RangeInvalid(str(error), headers=_where(error.session))


def _start(request: Request, target: Target, caller: Caller) -> Response:
    query, repository = request.query, target.repository
    mounted = query.get("mount")
    if mounted and blobs.mount(caller, repository, digests.parse(mounted), query.get("from", "")):
        return created(repository, mounted)
    if "digest" in query:
        digest = wanted_digest(request)
        uploads.store(repository, digest, _whole_body(request, _content_length(request)))
        return created(repository, digest)
    return progress(202, uploads.start(repository, query.get("digest-algorithm", "sha256")))


def _append(request: Request, target: Target) -> Response:
    session = uploads.find(target.repository, target.reference)
    body = _whole_body(request, chunk_length(request, session))
    if body:
        _check_verifiable(session.offset + len(body))
        writer = Writer(session)
        session = writer.append(0, writer.head() + body)
    return progress(202, session)


def _finish(request: Request, target: Target) -> Response:
    digest = wanted_digest(request)
    session = uploads.find_any(target.repository, target.reference)
    if session.digest:
        return finish_again(session, digest)
    body = _whole_body(request, chunk_length(request, session))
    if body or digests.algorithm(digest) != digests.algorithm(session.prefix_digest):
        _check_verifiable(session.offset + len(body))
    writer = Writer(session, digests.algorithm(digest))
    writer.complete(0, writer.head() + body if body else None, digest)
    return created(target.repository, digest)


def _status(_request: Request, target: Target) -> Response:
    return progress(204, uploads.find(target.repository, target.reference))


def _cancel(_request: Request, target: Target) -> Response:
    uploads.cancel(uploads.find(target.repository, target.reference))
    return Response(204)


_METHODS = {"PATCH": _append, "PUT": _finish, "GET": _status, "HEAD": _status, "DELETE": _cancel}


def _check_verifiable(size: int) -> None:
    if size > _VERIFIABLE:
        raise TooLarge(
            f"{size} bytes cannot be verified within a request: upload them in one request through the upload relay, "
            "which the operator has to configure (BERTH_RELAY_URL)"
        )


def _content_length(request: Request) -> int | None:
    text = request.headers.get("content-length")
    if text is not None and not _LENGTH.match(text):
        raise SizeInvalid("Content-Length is not a number of bytes")
    return None if text is None else int(text)


def _whole_body(request: Request, length: int | None) -> bytes:
    if length not in (None, len(request.body)):
        raise SizeInvalid(f"{len(request.body)} bytes arrived of {length}")
    return request.body


def _where(session: Session) -> dict[str, str]:
    """Where an upload stands, and where to go on: of nothing at all the range is 0-0 too, as in `distribution`."""
    state = keys.sign({"repository": session.repository, "upload": session.id}, _AUDIENCE, settings().upload_seconds)
    return {
        "Location": f"{settings().relay_url}/v2/{session.repository}/blobs/uploads/{session.id}?_state={state}",
        "Range": f"0-{max(session.offset - 1, 0)}",
        "Docker-Upload-UUID": session.id,
    }
