"""The bucket: objects under fresh keys, multipart uploads, and presigned URLs.

    blobs/<name>       the bytes of a blob, or of an upload that is to become one
    uploads/<name>     the tail of an upload: bytes that wait to fill a part (a lifecycle rule drops stale ones)
    manifests/<name>   manifests too large for their item
    gc/<name>          work of the collector (a lifecycle rule drops stale ones)

Keys are never reused, so no write and no delete can hit what another has made.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from urllib.parse import quote
from xml.sax.saxutils import escape

import urllib3

from chalicelib.oci.errors import Unavailable
from chalicelib.settings import settings
from chalicelib.storage import s3, signing
from chalicelib.storage.aws_json import RefusedError, credentials, region
from chalicelib.storage.conditions import new_id
from chalicelib.timed_cache import TimedCache

Part = tuple[int, str]
"""A part's number and ETag, the latter without its quotes."""

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_URL_CACHE_SECONDS = 60
_STREAM_CHUNK = 1 << 20
_COMPLETE_SECONDS = 300.0
"""S3 may take minutes to put a large upload together."""

_urls: TimedCache[tuple[str, str, str, str], str] = TimedCache(4096)


class MultipartGoneError(Exception):
    """The multipart upload was aborted, or timed out, or its parts are not those that were named."""


def blob_key() -> str:
    return f"blobs/{new_id()}"


def tail_key() -> str:
    return f"uploads/{new_id()}"


def put(key: str, data: bytes | bytearray | memoryview, sha256: str = "") -> None:
    """Write an object. S3 refuses it when `sha256` (hex) is given and differs (RefusedError "BadDigest")."""
    headers = {"x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode()} if sha256 else {}
    s3.call("PutObject", "PUT", key, headers=headers, body=data)


def get(key: str, start: int = 0, end: int | None = None) -> bytes | None:
    """An object's bytes, from `start` up to and without `end`; None when there is no object."""
    headers = {} if end is None else {"Range": f"bytes={start}-{end - 1}"}
    try:
        return s3.call("GetObject", "GET", key, headers=headers).data
    except RefusedError as error:
        if error.kind == "NoSuchKey":
            return None
        raise


def stream(key: str) -> Iterator[bytes]:
    """An object's bytes, a chunk at a time. Raises Unavailable when they end early."""
    answer = s3.call("GetObject", "GET", key, stream=True)
    expected, received = int(answer.headers["Content-Length"]), 0
    try:
        for chunk in answer.stream(_STREAM_CHUNK):
            received += len(chunk)
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable("the blob store broke off") from error
    finally:
        answer.close() if received < expected else answer.release_conn()
    if received < expected:
        raise Unavailable("the blob store broke off")


def exists(key: str) -> bool:
    try:
        s3.call("HeadObject", "HEAD", key)
    except RefusedError as error:
        if error.kind == "HTTP 404":
            return False
        raise
    return True


def delete(key: str) -> None:
    """Delete an object; one that is gone already is no error."""
    s3.call("DeleteObject", "DELETE", key)


def create_multipart(key: str) -> str:
    """Start a multipart upload to `key`; returns its id."""
    answer = s3.call("CreateMultipartUpload", "POST", key, query={"uploads": ""})
    return answer.data.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()


def put_part(key: str, multipart: str, number: int, data: bytes | bytearray | memoryview) -> str:
    """Write one part; a part of the same number is replaced. Returns its ETag. Raises MultipartGoneError."""
    query = {"partNumber": str(number), "uploadId": multipart}
    try:
        return s3.call("UploadPart", "PUT", key, query=query, body=data).headers["ETag"].strip('"')
    except RefusedError as error:
        if error.kind == "NoSuchUpload":
            raise MultipartGoneError from error
        raise


def complete_multipart(key: str, multipart: str, parts: Sequence[Part]) -> None:
    """Make the object of its parts, in order. Doing it again is no error. Raises MultipartGoneError."""
    listed = "".join(
        f'<Part><PartNumber>{number}</PartNumber><ETag>"{escape(etag)}"</ETag></Part>' for number, etag in parts
    )
    document = f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{listed}</CompleteMultipartUpload>'
    try:
        s3.call(
            "CompleteMultipartUpload",
            "POST",
            key,
            query={"uploadId": multipart},
            body=document.encode(),
            read_seconds=_COMPLETE_SECONDS,
        )
    except RefusedError as error:
        if error.kind not in ("NoSuchUpload", "InvalidPart"):
            raise
        if error.kind == "InvalidPart" or not exists(key):
            raise MultipartGoneError from error


def abort_multipart(key: str, multipart: str) -> None:
    """Drop a multipart upload and its parts; one that is gone already is no error."""
    try:
        s3.call("AbortMultipartUpload", "DELETE", key, query={"uploadId": multipart})
    except RefusedError as error:
        if error.kind != "NoSuchUpload":
            raise


def presign(method: str, key: str, host: str, content_type: str = "") -> str:
    """A URL that lets its holder GET or HEAD an object until `url_seconds` from now, or a minute less.

    `host` is the name by which the client reached the registry: on one machine S3 goes by the same name, for some
    clients follow no redirect from one local name to another. `content_type` makes S3 answer with that media type.
    Nothing may be added to the URL's query: it is signed.
    """
    endpoint = (settings().s3_public_endpoint or "").replace("{host}", host)
    cached = _urls.get((method, key, endpoint, content_type))
    if cached is not None:
        return cached[0]
    url = _signed_url(method, f"{s3.bucket_url(endpoint)}/{quote(key)}", content_type)
    return _urls.put((method, key, endpoint, content_type), url, _URL_CACHE_SECONDS)


def _signed_url(method: str, url: str, content_type: str) -> str:
    """SigV4 by query parameters, as botocore's S3SigV4QueryAuth does it: in a sixth of its time, on every pull."""
    signer = credentials().get_frozen_credentials()
    stamp = signing.timestamp()
    scope = signing.scope(stamp, region(), "s3")
    parameters = {
        "X-Amz-Algorithm": signing.ALGORITHM,
        "X-Amz-Credential": f"{signer.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(settings().url_seconds),
        **({"X-Amz-Security-Token": signer.token} if signer.token else {}),
        "X-Amz-SignedHeaders": "host",
        **({"response-content-type": content_type} if content_type else {}),
    }
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in parameters.items())
    host, _, path = url.partition("://")[2].partition("/")
    canonical = f"{method}\n/{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    signature = signing.signature(signer.secret_key, stamp, scope, canonical)
    return f"{url}?{query}&X-Amz-Signature={signature}"
