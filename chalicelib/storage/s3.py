"""Calls of S3 on the one bucket, without a botocore client: signed with botocore's SigV4, sent with urllib3.

A client costs 200 ms to make and 3 ms of CPU a call, and hashes each body before it sends it. Bodies go out as
`UNSIGNED-PAYLOAD`, straight from the caller's buffer: TLS guards them on the way, S3 checks those that come with a
checksum, and an upload's bytes are hashed as they pass (chalicelib/registry/uploads.py).

Failed and throttled calls are tried again with jittered, growing pauses; every operation called here is idempotent.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from botocore.auth import UNSIGNED_PAYLOAD, S3SigV4Auth
from botocore.awsrequest import AWSRequest

from chalicelib import retrying
from chalicelib.oci.errors import Unavailable
from chalicelib.settings import settings
from chalicelib.storage.aws_json import RefusedError, credentials, events, region, user_agent

RETRY_SECONDS = 15.0
"""No new attempt is made after this long: inside the gateway's 30 seconds."""

_ATTEMPTS = 6
"""At a call of S3, with pauses of up to 1.6 s between them: it answers a hot prefix 503 for a second or two."""
TRANSIENT = {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown"}
"""The errors that another attempt may help against, whatever the status."""

_CODE = re.compile(rb"<Error>.*?<Code>([^<]*)</Code>", re.DOTALL)


class _UnsignedPayload(S3SigV4Auth):  # type: ignore[misc]  # botocore ships no types
    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002 -- botocore's signature
        return str(UNSIGNED_PAYLOAD)


def bucket_url(endpoint: str = "") -> str:
    """The bucket's base URL: path style on a custom endpoint, virtual-host style on AWS."""
    base = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    bucket = settings().bucket
    if base:
        return f"{base.rstrip('/')}/{bucket}"
    suffix = "amazonaws.com.cn" if region().startswith("cn-") else "amazonaws.com"
    return f"https://{bucket}.s3.{region()}.{suffix}"


def call(
    operation: str,
    method: str,
    key: str,
    *,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | bytearray | memoryview = b"",
    read_seconds: float = 20.0,
    stream: bool = False,
) -> urllib3.BaseHTTPResponse:
    """S3's successful answer; with `stream` its body is still to be read, and the response to be released.

    `read_seconds` bounds each wait for bytes. Raises RefusedError with S3's error code, or Unavailable.
    """
    url = f"{bucket_url()}/{quote(key)}" + (f"?{urlencode(query)}" if query else "")
    for _ in attempts():
        events.emit(f"before-call.s3.{operation}", model=operation, params={"Key": key, **(query or {})})
        fault = "connection failed"
        try:
            answer = _send(method, url, headers or {}, body, read_seconds, stream)
        except urllib3.exceptions.HTTPError:
            pass
        else:
            code = _error_code(answer, operation)
            if not code:
                events.emit(f"after-call.s3.{operation}", model=operation, params={"Key": key})
                return answer
            if answer.status < 500 and code not in TRANSIENT:
                raise RefusedError(code, operation)
            fault = code
    raise Unavailable(f"the blob store does not answer: {fault}")


def attempts() -> Iterator[None]:
    """A turn for each attempt at a call, with jittered, growing pauses between them, as long as there is time."""
    deadline = time.monotonic() + RETRY_SECONDS
    yield
    for pause in islice(retrying.pauses(0.05, 2.0), _ATTEMPTS - 1):
        if time.monotonic() + pause > deadline:
            return
        time.sleep(pause)
        yield


def _send(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | bytearray | memoryview,
    read_seconds: float,
    stream: bool,
) -> urllib3.BaseHTTPResponse:
    request = AWSRequest(method, url, headers=dict(headers))
    _UnsignedPayload(credentials(), "s3", region()).add_auth(request)
    parts = urlsplit(url)
    return _pool(f"{parts.scheme}://{parts.netloc}").request(
        method,
        f"{parts.path}?{parts.query}" if parts.query else parts.path,
        body=body,  # type: ignore[arg-type]  # urllib3 takes any buffer
        headers={**dict(request.headers.items()), "User-Agent": user_agent()},
        timeout=urllib3.Timeout(connect=2, read=read_seconds),
        preload_content=not stream,
    )


def _error_code(answer: urllib3.BaseHTTPResponse, operation: str) -> str:
    """S3's code for an error, empty when there is none. Completing an upload can fail with status 200."""
    if answer.status < 300 and operation != "CompleteMultipartUpload":
        return ""  # an object's bytes may look like an error
    found = _CODE.search(answer.data[:4096])
    if found:
        return found[1].decode()
    return "" if answer.status < 300 else f"HTTP {answer.status}"


@cache
def _pool(origin: str) -> urllib3.HTTPConnectionPool:
    return urllib3.connection_from_url(origin, maxsize=32, retries=False)
