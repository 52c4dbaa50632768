"""Bad input of every sort, through the whole registry: the right 4xx with an OCI body, never a 5xx, nothing stored."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.http import Request, Response
from chalicelib.oci import digests, manifests
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store import repositories
from chalicelib.storage import aws_json
from chalicelib.v2.routes import handle
from tests.hostile.bombs import ODD_TEXTS
from tests.registry.images import CONFIG, descriptor, image, push_blob, push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("cloud")

DIGEST = "sha256:" + "a" * 64
Send = Callable[..., Response]


@pytest.fixture
def send(admin_authorization: str) -> Send:
    """Send a request as the administrator."""

    def request(
        method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, **query: str
    ) -> Response:
        every = {"authorization": admin_authorization, "content-length": str(len(body)), **(headers or {})}
        return handle(Request(method, f"/v2/{path}", query, every, body, "http://localhost"))

    return request


def assert_refused(response: Response, status: int, code: str) -> None:
    errors = json.loads(response.body)["errors"]
    assert (response.status, [error["code"] for error in errors]) == (status, [code]), response.body
    assert response.headers["Content-Type"] == "application/json"


PATHS = ("{}/app/manifests/v1", "p/app/manifests/{}", "p/app/blobs/{}", "p/app/tags/list", "p/{}/referrers/" + DIGEST)


@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_odd_names_queries_and_headers_are_no_fault(odd: str, send: Send, repository: str) -> None:
    for path in (*PATHS, "p/app/blobs/uploads/{}", "{}"):
        for method in ("GET", "PUT", "POST", "DELETE", "PATCH"):
            assert send(method, path.format(odd)).status < 500
    for path in ("_catalog", f"{repository}/tags/list", f"{repository}/referrers/{DIGEST}"):
        for name in ("n", "last", "artifactType"):
            assert send("GET", path, **{name: odd}).status < 500
    for name in ("mount", "from", "digest", "digest-algorithm", "_state"):
        query = {"mount": DIGEST, name: odd} if name == "from" else {name: odd}
        assert send("POST", f"{repository}/blobs/uploads/", **query).status < 500
        assert send("PUT", f"{repository}/blobs/uploads/{'0' * 32}", **query).status < 500
    for name in (
        "authorization",
        "content-type",
        "content-range",
        "content-length",
        "range",
        "accept",
        "if-none-match",
    ):
        for method, path in (("GET", "manifests/v1"), ("PUT", "manifests/v1"), ("POST", "blobs/uploads/")):
            assert send(method, f"{repository}/{path}", b"", {name: odd}).status < 500


@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_odd_token_requests_and_logins_are_no_fault(odd: str) -> None:
    from chalicelib.console import login
    from tests.access.support import ORIGIN, basic, get_token, post_token

    for scope in (odd, f"repository:{odd}:pull", f"repository:p/app:{odd}", f"{odd}:p/app:pull"):
        assert get_token(scope=[scope]).status < 500
    assert get_token(basic(odd or "-", odd), service=[odd], account=[odd]).status < 500
    form = urlencode({"grant_type": "password", "username": odd, "password": odd, "scope": odd, "refresh_token": odd})
    for body in (form, form.replace("password", "refresh_token", 1), odd):
        assert post_token(body).status < 500
    headers = {"content-type": "application/x-www-form-urlencoded", "cookie": f"sid={odd}; _gorilla_csrf={odd}"}
    body = urlencode({"principal": odd, "password": odd}).encode()
    for path in ("/c/login", "/c/log_out", "/c/oidc/login", "/c/oidc/callback", f"/c/{odd}"):
        for method in ("GET", "POST"):
            query = {"redirect_url": odd, "state": odd, "code": odd}
            sent = Request(method, path, query, {**headers, "x-harbor-csrf-token": odd}, body, ORIGIN)
            assert login.handle(sent).status < 500


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "{}/manifests/sha256:short", 400, "DIGEST_INVALID"),
        ("GET", "{}/manifests/.hidden", 400, "TAG_INVALID"),
        ("GET", "{}/manifests/" + "t" * 129, 400, "TAG_INVALID"),
        ("PUT", "{}/manifests/a b", 400, "TAG_INVALID"),
        ("GET", "{}/../../etc/manifests/x", 400, "NAME_INVALID"),
        ("GET", "{}//x/manifests/x", 400, "NAME_INVALID"),
        ("GET", "%2e%2e/x/manifests/x", 400, "NAME_INVALID"),
        ("GET", "a%2Fb/c/manifests/x", 400, "NAME_INVALID"),
        ("GET", "UPPER/x/manifests/x", 400, "NAME_INVALID"),
        ("GET", "{}/blobs/md5:abc", 400, "DIGEST_INVALID"),
        ("GET", "{}/nothing/here", 404, "UNSUPPORTED"),
        ("POST", "{}/manifests/x", 405, "UNSUPPORTED"),
        ("PATCH", "{}/blobs/" + DIGEST, 405, "UNSUPPORTED"),
        ("PUT", "{}/tags/list", 405, "UNSUPPORTED"),
        ("GET", "{}/blobs/uploads/", 405, "UNSUPPORTED"),
        ("PATCH", "{}/blobs/uploads/nope", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", "{}/blobs/uploads/" + "0" * 32, 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET", "{}/blobs/uploads/" + "0" * 32, 404, "BLOB_UPLOAD_UNKNOWN"),
        ("DELETE", "{}/blobs/uploads/" + "0" * 32, 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET", "{}/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("HEAD", "{}/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("GET", "{}/blobs/" + DIGEST, 404, "BLOB_UNKNOWN"),
        ("DELETE", "{}/blobs/" + DIGEST, 404, "BLOB_UNKNOWN"),
        ("DELETE", "{}/manifests/" + DIGEST, 404, "MANIFEST_UNKNOWN"),
        ("GET", "{}/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "missing-project/x/manifests/x", 404, "NAME_UNKNOWN"),
    ],
)
def test_a_malformed_or_unknown_target(
    send: Send, repository: str, method: str, path: str, status: int, code: str
) -> None:
    assert_refused(send(method, path.format(repository)), status, code)


@pytest.mark.parametrize("n", ["-1", "x", "1.5", "", "٣", "9" * 30])
def test_a_malformed_page_size(send: Send, repository: str, n: str) -> None:
    for path in (f"{repository}/tags/list", "_catalog", f"{repository}/referrers/{DIGEST}"):
        assert_refused(send("GET", path, n=n), 400, "PAGINATION_NUMBER_INVALID")


@pytest.mark.parametrize("last", ["\x00", "x" * 5000, "é|", "|||", "../.."])
def test_a_strange_page_mark_is_no_fault(send: Send, repository: str, last: str) -> None:
    push_blob(repository, b"{}", CONFIG)
    for path in (f"{repository}/tags/list", "_catalog", f"{repository}/referrers/{DIGEST}"):
        with asked() as requests:
            assert send("GET", path, last=last).status < 500
        keys = [request["ExclusiveStartKey"]["sk"]["S"] for request in requests if "ExclusiveStartKey" in request]
        assert all(len(key.encode()) <= _SORT_KEY_BYTES for key in keys), "DynamoDB would refuse it"


_SORT_KEY_BYTES = 1024


@contextlib.contextmanager
def asked() -> Iterator[list[dict[str, Any]]]:
    """The queries that DynamoDB is asked."""
    requests: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        requests.append(params)

    aws_json.events.register("before-call.dynamodb.Query", note)
    try:
        yield requests
    finally:
        aws_json.events.unregister("before-call.dynamodb.Query", note)


def test_a_mark_of_no_page_of_referrers_is_refused(send: Send, repository: str) -> None:
    path = f"{repository}/referrers/{DIGEST}"
    for last in ("x", "|", f"a\x01|{DIGEST}", f"{DIGEST}|", f"a/b|{DIGEST[:-1]}"):
        assert_refused(send("GET", path, last=last), 400, "PAGINATION_NUMBER_INVALID")
    assert_refused(send("GET", path, last=f"a/b|{DIGEST}", artifactType="a/c"), 400, "PAGINATION_NUMBER_INVALID")
    for last in (f"|{DIGEST}", f"a/b|{DIGEST}"):
        assert send("GET", path, last=last).status == 200


def test_a_long_mark_sorts_as_it_would_whole(send: Send, repository: str) -> None:
    push_image(repository, "t" * 128)
    tags = f"{repository}/tags/list"
    assert json.loads(send("GET", tags, last="s" * 5000).body)["tags"] == ["t" * 128]
    assert json.loads(send("GET", tags, last="t" * 129).body)["tags"] == []


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "MANIFEST_INVALID"),
        (b"{", 400, "MANIFEST_INVALID"),
        (b"\xff\xfe", 400, "MANIFEST_INVALID"),
        (b'{"a":' * 50_000, 400, "MANIFEST_INVALID"),
        (b'{"schemaVersion":2,"schemaVersion":2}', 400, "MANIFEST_INVALID"),
        (image(*(descriptor(b"%d" % n) for n in range(manifests.REFERENCE_LIMIT + 1))), 400, "MANIFEST_INVALID"),
        (b" " * (manifests.SIZE_LIMIT + 1), 413, "SIZE_INVALID"),
    ],
    ids=["empty", "cut", "not-utf8", "deep", "duplicate", "many-layers", "huge"],
)
def test_a_malformed_manifest_stores_nothing(
    send: Send, repository: str, content: bytes, status: int, code: str
) -> None:
    with counted() as calls:
        response = send("PUT", f"{repository}/manifests/x", content, {"content-type": manifests.OCI_MANIFEST})
    assert_refused(response, status, code)
    assert not {"BatchWriteItem", "TransactWriteItems", "PutObject"} & {operation for _, operation in calls}
    assert manifest_table.read_tag(repository, "x") is None
    assert not repositories.exists(repository)


def test_a_manifest_under_a_wrong_digest_stores_nothing(send: Send, repository: str) -> None:
    config = push_blob(repository, b"{}", CONFIG)
    assert_refused(send("PUT", f"{repository}/manifests/{DIGEST}", image(config)), 400, "DIGEST_INVALID")
    assert manifest_table.read_record(repository, DIGEST) is None


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_under_a_wrong_digest_stores_nothing(send: Send, repository: str, algorithm: str) -> None:
    wrong = digests.of(os.urandom(8), algorithm)
    response = send("POST", f"{repository}/blobs/uploads/", b"content", digest=wrong)
    assert_refused(response, 400, "DIGEST_INVALID")
    assert blob_table.read(repository, wrong) == (None, None)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-length": "9"}, 400, "SIZE_INVALID"),
        ({"content-length": "x"}, 400, "SIZE_INVALID"),
        ({"content-range": "0-3"}, 400, "SIZE_INVALID"),
        ({"content-range": "5-1"}, 400, "BLOB_UPLOAD_INVALID"),
        ({"content-range": "bytes=0-6"}, 400, "BLOB_UPLOAD_INVALID"),
        ({"content-range": "7-13"}, 416, "BLOB_UPLOAD_INVALID"),
        ({"content-range": "0-" + "9" * 40}, 400, "BLOB_UPLOAD_INVALID"),
    ],
    ids=repr,
)
def test_a_chunk_with_wrong_lengths_is_refused(
    send: Send, repository: str, headers: dict[str, str], status: int, code: str
) -> None:
    location = send("POST", f"{repository}/blobs/uploads/").headers["Location"].partition("?")[0].removeprefix("/v2/")
    assert_refused(send("PATCH", location, b"content", headers), status, code)
    assert send("GET", location).headers["Range"] == "0-0"


@pytest.mark.parametrize("content_range", ["0--1", "9-8", "bytes */0"])
def test_a_chunk_of_nothing_may_have_no_range_that_says_so(send: Send, repository: str, content_range: str) -> None:
    location = send("POST", f"{repository}/blobs/uploads/").headers["Location"].partition("?")[0].removeprefix("/v2/")
    headers = {"content-length": "0", "content-range": content_range}
    assert send("PATCH", location, b"", headers).status == 202
    assert send("PATCH", location, b"content", {"content-range": "0-6"}).headers["Range"] == "0-6"
    assert send("PUT", location, b"", headers, digest=digests.of(b"content")).status == 201


def test_a_forged_upload_address_is_refused(send: Send, repository: str, other_repository: str) -> None:
    path, _, query = send("POST", f"{repository}/blobs/uploads/").headers["Location"].partition("?")
    state = query.removeprefix("_state=")
    elsewhere = path.replace(repository, other_repository).removeprefix("/v2/")
    assert_refused(send("PATCH", elsewhere, b"x", _state=state), 400, "BLOB_UPLOAD_INVALID")
    for forged in (state[:-2] + "xx", "", "a.b.c", state.replace(".", "", 1), "é"):
        assert_refused(send("PATCH", path.removeprefix("/v2/"), b"x", _state=forged), 400, "BLOB_UPLOAD_INVALID")


_TOKENS = [
    "Bearer ",
    "Bearer x",
    "Bearer a.b.c",
    "Bearer " + base64.urlsafe_b64encode(b'{"alg":"none"}').decode() + ".e30.",
    "Basic",
    "Basic !!!",
    "Basic " + base64.b64encode(b"no-colon").decode(),
    "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    "Basic " + base64.b64encode(b"admin:wrong").decode(),
    "Digest username=admin",
    "\x00",
    "Bearer " + "x" * 9000,
]


@pytest.mark.parametrize("value", _TOKENS, ids=range(len(_TOKENS)))
def test_bad_credentials_are_challenged(send: Send, repository: str, value: str) -> None:
    response = send("GET", f"{repository}/tags/list", headers={"authorization": value})
    assert_refused(response, 401, "UNAUTHORIZED")
    assert "WWW-Authenticate" in response.headers
    assert not {"\r", "\n"} & set(response.headers["WWW-Authenticate"])


@pytest.mark.parametrize("host", ['evil"\r\nX: y', "a,b", 'x" realm="http://evil', "héh"])
def test_a_host_header_cannot_write_into_the_challenge(host: str) -> None:
    response = handle(Request("GET", "/v2/", {}, {}, b"", f"http://{host}"))
    assert response.status == 401
    challenge = response.headers["WWW-Authenticate"]
    assert host not in challenge
    assert "\n" not in challenge


_text = st.text(max_size=60)
_header = st.sampled_from(["authorization", "content-type", "content-range", "content-length", "range", "accept"])
_segment = (
    st.sampled_from(["library", "x", "manifests", "blobs", "uploads", "tags", "list", "referrers", DIGEST]) | _text
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]),
    path=st.lists(_segment, max_size=6),
    query=st.dictionaries(st.sampled_from(["n", "last", "digest", "mount", "from", "_state", "artifactType"]), _text),
    headers=st.dictionaries(_header, _text, max_size=3),
    body=st.binary(max_size=60),
    authorized=st.booleans(),
)
def test_whatever_comes_is_answered_without_a_fault(
    admin_authorization: str, method: str, path: list[str], query: Any, headers: Any, body: bytes, authorized: bool
) -> None:
    every = {**headers, **({"authorization": admin_authorization} if authorized else {})}
    response = handle(Request(method, "/v2/" + "/".join(path), query, every, body, "http://localhost"))
    assert response.status < 500
    assert not any({"\r", "\n"} & set(value) for value in response.headers.values())
