"""The bucket's adapter, on a real S3 API; its faults come from a server in between."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, urlsplit

import boto3
import pytest
import urllib3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from chalicelib.oci.errors import Unavailable
from chalicelib.storage import aws_json, blobstore, s3
from chalicelib.storage.aws_json import RefusedError
from chalicelib.storage.blobstore import MultipartGoneError

pytestmark = pytest.mark.usefixtures("cloud")

MIB = 1 << 20


@pytest.fixture
def key() -> str:
    return blobstore.blob_key()


@contextmanager
def failing_first(times: int, status: int, code: str, content: str = "") -> Iterator[list[str]]:
    """A server before S3 that answers so many requests with an error, or `content`; yields what they were."""
    behind = urllib3.connection_from_url(os.environ["AWS_ENDPOINT_URL"], retries=False)
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            requests.append(self.command)
            if len(requests) <= times:
                fault = (content or f"<Error><Code>{code}</Code></Error>").encode()
                reply_body, headers, answered = b"<?xml version='1.0'?>" + fault, {}, status
            else:
                reply = behind.request(self.command, self.path, body=body, headers=dict(self.headers))
                reply_body, headers, answered = reply.data, reply.headers, reply.status
            self.send_response(answered)
            for name in ("ETag", "Content-Range"):
                if name in headers:
                    self.send_header(name, headers[name])
            self.send_header("Content-Length", str(len(reply_body)))
            self.end_headers()
            self.wfile.write(reply_body)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 -- http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
    try:
        yield requests
    finally:
        patch.undo()
        server.shutdown()
        server.server_close()


def test_objects_are_read_as_they_were_written(key: str) -> None:
    content = os.urandom(3 * MIB + 1)
    blobstore.put(key, memoryview(content), hashlib.sha256(content).hexdigest())
    assert blobstore.get(key) == content
    assert b"".join(blobstore.stream(key)) == content
    assert blobstore.exists(key)
    blobstore.delete(key)
    blobstore.delete(key)
    assert blobstore.get(key) is None
    assert not blobstore.exists(key)


def test_s3_refuses_bytes_of_another_checksum(key: str) -> None:
    with pytest.raises(RefusedError):
        blobstore.put(key, b"abc", hashlib.sha256(b"abd").hexdigest())
    assert not blobstore.exists(key)


def test_an_object_of_parts(key: str) -> None:
    parts = [os.urandom(5 * MIB), os.urandom(5 * MIB), b"end"]
    multipart = blobstore.create_multipart(key)
    listed = [
        (3 * number + 1, blobstore.put_part(key, multipart, 3 * number + 1, parts[number])) for number in range(3)
    ]
    assert not blobstore.exists(key)
    for _ in range(2):
        blobstore.complete_multipart(key, multipart, listed)
    assert blobstore.get(key) == b"".join(parts)


def test_a_multipart_upload_that_is_gone_says_so(key: str) -> None:
    multipart = blobstore.create_multipart(key)
    etag = blobstore.put_part(key, multipart, 1, b"abc")
    with pytest.raises(MultipartGoneError):
        blobstore.complete_multipart(key, multipart, [(1, "0" * 32)])
    blobstore.abort_multipart(key, multipart)
    blobstore.abort_multipart(key, multipart)
    with pytest.raises(MultipartGoneError):
        blobstore.put_part(key, multipart, 1, b"abc")
    with pytest.raises(MultipartGoneError):
        blobstore.complete_multipart(key, multipart, [(1, etag)])


def test_a_presigned_url_is_good_for_its_method_and_object_only(key: str) -> None:
    blobstore.put(key, b"content")
    url = blobstore.presign("GET", key, "localhost")
    assert urllib3.request("GET", url).data == b"content"
    assert urllib3.request("GET", url, headers={"Range": "bytes=1-3"}).data == b"ont"
    assert urllib3.request("HEAD", url).status == 403
    head = urllib3.request("HEAD", blobstore.presign("HEAD", key, "localhost"))
    assert (head.status, head.headers["Content-Length"]) == (200, "7")
    assert urllib3.request("GET", url.replace(key, f"blobs/{uuid.uuid4().hex}")).status == 403
    assert urllib3.request("GET", f"{url}&digest=x").status == 403


def test_a_presigned_url_fixes_the_media_type(key: str) -> None:
    blobstore.put(key, b"content")
    answer = urllib3.request("GET", blobstore.presign("GET", key, "localhost", "application/octet-stream"))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")


def test_a_presigned_url_names_temporary_credentials(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    role = "arn:aws:iam::000000000000:role/berth"
    issued = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    temporary = Credentials(issued["AccessKeyId"], issued["SecretAccessKey"], issued["SessionToken"])
    monkeypatch.setattr(blobstore, "credentials", lambda: temporary)
    monkeypatch.setattr(s3, "credentials", lambda: temporary)
    blobstore.put(key, b"content")
    url = blobstore.presign("GET", key, "localhost")
    assert f"X-Amz-Security-Token={issued['SessionToken']}" in url
    assert urllib3.request("GET", url).data == b"content"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("token", [None, "a/session+token="])
@pytest.mark.parametrize("media_type", ["", "application/vnd.oci.image.layer.v1.tar+gzip"])
def test_a_presigned_url_is_the_one_that_botocore_makes(
    key: str, method: str, token: str | None, media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCY", token)
    monkeypatch.setattr(blobstore, "credentials", lambda: signer)
    ours = urlsplit(blobstore.presign(method, key, "localhost", media_type))
    url = f"{s3.bucket_url()}/{key}"
    if media_type:
        url += f"?response-content-type={quote(media_type, safe='')}"
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: _time_of(ours.query))
    request = AWSRequest(method, url)
    S3SigV4QueryAuth(signer, "s3", "us-east-1", s3.settings().url_seconds).add_auth(request)
    theirs = urlsplit(request.url)
    assert (ours.netloc, ours.path) == (theirs.netloc, theirs.path)
    assert dict(parse_qsl(ours.query)) == dict(parse_qsl(theirs.query))


def _time_of(query: str) -> datetime:
    return datetime.strptime(dict(parse_qsl(query))["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def test_a_presigned_url_leads_where_clients_reach_s3(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    bucket = s3.settings().bucket
    assert blobstore.presign("GET", key, "localhost").startswith(f"https://{bucket}.s3.us-east-1.amazonaws.com/{key}?")
    assert s3.bucket_url("https://s3.example.com/") == f"https://s3.example.com/{bucket}"


def test_a_url_is_handed_out_again_for_a_while(key: str) -> None:
    assert blobstore.presign("GET", key, "localhost") is blobstore.presign("GET", key, "localhost")
    assert blobstore.presign("GET", key, "localhost") != blobstore.presign("HEAD", key, "localhost")


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (400, "RequestTimeout")])
def test_a_busy_store_is_asked_again(key: str, status: int, code: str) -> None:
    with failing_first(2, status, code) as requests:
        blobstore.put(key, b"content")
    assert len(requests) == 3
    assert blobstore.get(key) == b"content"


def test_an_upload_that_fails_to_complete_with_status_200_is_tried_again(key: str) -> None:
    multipart = blobstore.create_multipart(key)
    part = (1, blobstore.put_part(key, multipart, 1, b"abc"))
    with failing_first(1, 200, "InternalError") as requests:
        blobstore.complete_multipart(key, multipart, [part])
    assert len(requests) == 2
    assert blobstore.get(key) == b"abc"


def test_a_store_that_stays_busy_is_unavailable(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "RETRY_SECONDS", 0.2)
    with failing_first(1000, 503, "SlowDown") as requests, pytest.raises(Unavailable) as caught:
        blobstore.put(key, b"content")
    assert 1 < len(requests) <= 6
    assert caught.value.headers["Retry-After"]


def test_a_refusal_is_not_tried_again(key: str) -> None:
    with failing_first(1000, 403, "AccessDenied") as requests, pytest.raises(RefusedError, match="AccessDenied"):
        blobstore.put(key, b"content")
    assert len(requests) == 1


def test_calls_are_counted_by_botocores_names(key: str) -> None:
    seen: list[str] = []

    def note(event_name: str, **_: object) -> None:
        seen.append(event_name)

    aws_json.events.register("before-call.s3.*", note)
    try:
        blobstore.put(key, b"content")
        blobstore.get(key)
    finally:
        aws_json.events.unregister("before-call.s3.*", note)
    assert seen == ["before-call.s3.PutObject", "before-call.s3.GetObject"]


def test_an_object_whose_bytes_look_like_an_error_is_read() -> None:
    key, content = blobstore.blob_key(), b"<Error><Code>NoSuchKey</Code></Error>"
    blobstore.put(key, content)
    assert blobstore.get(key) == content
    assert blobstore.get(key, 1, 6) == b"Error"
