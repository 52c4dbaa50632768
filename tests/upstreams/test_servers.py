"""The upstreams of these tests do what they say: stock HTTP clients see the faults, and requests are counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from urllib3.exceptions import HTTPError, ProtocolError

from tests.upstreams.servers import faults
from tests.upstreams.servers.certificates import make_certificate
from tests.upstreams.servers.contents import INDEX, digest_of
from tests.upstreams.servers.scripted import Scripted, scripted
from tests.upstreams.servers.tokens import PASSWORD, USER, token_service


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


def get(url: str, method: str = "GET", redirects: int | bool = False, **headers: str) -> urllib3.BaseHTTPResponse:
    retries = urllib3.Retry(connect=0, read=0, redirect=redirects) if redirects else False
    with urllib3.PoolManager(cert_reqs="CERT_NONE") as http:
        return http.request(method, url, headers=headers, retries=retries, redirect=bool(redirects), timeout=10)


def test_an_image_is_served_with_ranges_tags_and_referrers(upstream: Scripted) -> None:
    image = upstream.put_image("team/app", "v1", layers=[b"0123456789"])
    signature = upstream.put_image("team/app", "sig", subject={"digest": image.digest}, artifactType="test/signature")
    answer = get(f"{upstream.url}/v2/team/app/manifests/v1")
    assert (answer.data, answer.headers["Docker-Content-Digest"]) == (image.manifest, digest_of(image.manifest))
    blob = f"{upstream.url}/v2/team/app/blobs/{image.layers[0]}"
    part = get(blob, Range="bytes=3-5")
    assert (part.status, part.data, part.headers["Content-Range"]) == (206, b"345", "bytes 3-5/10")
    assert get(blob, Range="bytes=8-").data == b"89"
    assert get(blob, Range="bytes=10-").status == 416
    assert get(blob, "HEAD").headers["Content-Length"] == "10"
    page = get(f"{upstream.url}/v2/team/app/tags/list?n=1")
    assert page.json()["tags"] == ["sig"]
    assert 'rel="next"' in page.headers["Link"]
    found = get(f"{upstream.url}/v2/team/app/referrers/{image.digest}")
    assert found.headers["Content-Type"] == INDEX
    assert [entry["digest"] for entry in found.json()["manifests"]] == [signature.digest]
    assert upstream.count("GET", "/v2/team/app/blobs/*") == 3
    assert upstream.sent(f"*{image.layers[0]}") == 5
    upstream.forget()
    assert upstream.asked() == []


def test_faults_come_in_turn_and_then_it_is_well(upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1", layers=[b"x" * 5000])
    blob = f"{upstream.url}/v2/app/blobs/{image.layers[0]}"
    upstream.script("*/blobs/*", faults.too_many("3"), faults.refuse(503), faults.wrong_bytes(), faults.well())
    limited = get(blob)
    assert (limited.status, limited.headers["Retry-After"]) == (429, "3")
    assert get(blob).status == 503
    assert get(blob).data == b"\x87" + b"x" * 4999
    upstream.script("*", faults.refuse(500), always=True)
    assert get(blob).data == b"x" * 5000
    assert [get(blob).status for _ in range(3)] == [500, 500, 500]
    upstream.heal()
    assert get(blob).status == 200


def test_connections_that_end_early(upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1", layers=[b"x" * 5000])
    blob = f"{upstream.url}/v2/app/blobs/{image.layers[0]}"
    upstream.script("*", faults.hang_up(), faults.cut(1000), faults.together(faults.chunked(), faults.cut(1000)))
    for _ in range(3):
        with pytest.raises(ProtocolError):
            get(blob)
    upstream.script("*", faults.chunked(), faults.says_length(6000), faults.says_length(100))
    assert get(blob).data == b"x" * 5000
    with pytest.raises(ProtocolError):
        get(blob)
    assert get(blob).data == b"x" * 100


def test_lies_about_ranges_redirects_and_slowness(upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1", layers=[b"0123456789"])
    blob = f"{upstream.url}/v2/app/blobs/{image.layers[0]}"
    upstream.script("*", faults.ignores_ranges(), faults.says_range("bytes 0-9/20"), faults.without("Content-Range"))
    whole = get(blob, Range="bytes=2-3")
    assert (whole.status, whole.data, "Content-Range" in whole.headers) == (200, b"0123456789", False)
    assert get(blob, Range="bytes=2-3").headers["Content-Range"] == "bytes 0-9/20"
    assert "Content-Range" not in get(blob, Range="bytes=2-3").headers
    upstream.script("*", faults.drip(20), faults.late(0.3))
    for _ in range(2):
        started = time.monotonic()
        assert get(blob).data == b"0123456789"
        assert time.monotonic() - started > 0.25
    upstream.script("*", faults.redirect("{path}"), always=True)
    assert get(blob).headers["Location"] == f"/v2/app/blobs/{image.layers[0]}"
    with pytest.raises(urllib3.exceptions.MaxRetryError):
        get(blob, redirects=3)


def test_blobs_on_another_host(upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1", layers=[b"0123456789"])
    with scripted("127.0.0.2") as cdn:
        upstream.redirect_blobs(cdn)
        assert get(f"{upstream.url}/v2/app/blobs/{image.layers[0]}", redirects=1).data == b"0123456789"
        assert [(asked.path, asked.query) for asked in cdn.asked()] == [
            (f"/v2/app/blobs/{image.layers[0]}", "signature=of-the-cdn")
        ]


def test_tokens_by_credentials_and_anonymous_and_how_they_end(tmp_path: Path) -> None:
    with token_service(make_certificate(tmp_path)) as tokens, scripted(tokens=tokens) as upstream:
        upstream.put_image("app", "v1")
        url = f"{upstream.url}/v2/app/manifests/v1"
        refused = get(url)
        assert refused.status == 401
        assert f'realm="{tokens.url}"' in refused.headers["WWW-Authenticate"]
        token = get(f"{tokens.url}?service=upstream.test&scope=repository:app:pull").json()["token"]
        assert get(url, Authorization=f"Bearer {token}").status == 200
        assert get(url.replace("app", "other"), Authorization=f"Bearer {token}").status == 401
        tokens.revoke()
        assert get(url, Authorization=f"Bearer {token}").status == 401
        tokens.anonymous = False
        assert get(tokens.url).status == 401
        basic = urllib3.make_headers(basic_auth=f"{USER}:{PASSWORD}")["authorization"]
        token = get(f"{tokens.url}?scope=repository:app:pull", Authorization=basic).json()["token"]
        assert get(url, Authorization=f"Bearer {token}").status == 200
        tokens.accounts[USER] = "another"
        assert get(tokens.url, Authorization=basic).status == 401
        assert tokens.count() == 4


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_a_name_and_password_and_tls(tmp_path: Path) -> None:
    with scripted(basic=("me", "secret"), tls=make_certificate(tmp_path, "127.0.0.1")) as upstream:
        assert upstream.url.startswith("https://")
        assert get(f"{upstream.url}/v2/").headers["WWW-Authenticate"] == 'Basic realm="upstream"'
        headers = urllib3.make_headers(basic_auth="me:secret")
        assert get(f"{upstream.url}/v2/", Authorization=headers["authorization"]).status == 200
        with pytest.raises(HTTPError), urllib3.PoolManager(retries=False) as strict:
            strict.request("GET", f"{upstream.url}/v2/")


def test_it_comes_back_on_its_port(upstream: Scripted) -> None:
    url = upstream.url
    upstream.stop()
    with pytest.raises(HTTPError):
        get(f"{url}/v2/")
    upstream.start()
    assert upstream.url == url
    assert get(f"{url}/v2/").status == 200
