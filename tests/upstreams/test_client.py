"""The client of upstream registries, against real ones and against one that goes wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from chalicelib.upstreams import client
from chalicelib.upstreams.authorization import Credential, parse
from chalicelib.upstreams.client import Descriptor, TagPage, Upstream
from chalicelib.upstreams.errors import (
    UpstreamContentInvalid,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamUnauthorized,
    UpstreamUnreachable,
)
from chalicelib.upstreams.providers import registry_address
from tests.upstreams.endpoints import endpoint
from tests.upstreams.servers import faults
from tests.upstreams.servers.certificates import Certificate, make_certificate
from tests.upstreams.servers.contents import MANIFEST, digest_of
from tests.upstreams.servers.scripted import Scripted, scripted
from tests.upstreams.servers.tokens import PASSWORD, USER, TokenService, token_service

pytestmark = pytest.mark.usefixtures("loopback")

ABSENT = digest_of(b"absent")


@pytest.fixture
def peer() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "127.0.0.1")


@pytest.fixture
def tokens(certificate: Certificate) -> Iterator[TokenService]:
    with token_service(certificate) as service:
        yield service


def upstream(peer: Scripted, name: str = "", password: str = "", **more: Any) -> Upstream:
    return Upstream(endpoint(peer.url, access_key=name, **more), Credential(name, password))


def content(found: client.Body) -> bytes:
    try:
        return b"".join(found)
    finally:
        found.close()


def test_manifests_blobs_tags_and_referrers(peer: Scripted) -> None:
    image = peer.put_image("team/app", "v1", layers=[b"0123456789"])
    peer.put_image("team/app", "sig", subject={"digest": image.digest}, artifactType="test/signature")
    it = upstream(peer)
    it.ping()
    expected = Descriptor(image.digest, MANIFEST, len(image.manifest))
    assert it.head_manifest("team/app", "v1") == it.head_manifest("team/app", image.digest) == expected
    assert it.get_manifest("team/app", "v1") == (MANIFEST, image.manifest, image.digest)
    assert it.get_manifest("team/app", image.digest) == (MANIFEST, image.manifest, image.digest)
    assert it.head_blob("team/app", image.layers[0]) == 10
    whole = it.open_blob("team/app", image.layers[0])
    assert (whole.status, whole.start, whole.length, content(whole)) == (200, 0, 10, b"0123456789")
    assert it.list_tags("team/app") == TagPage(["sig", "v1"], "")
    assert it.list_tags("team/app", n=1) == TagPage(["sig"], "sig")
    assert it.list_tags("team/app", n=1, last="sig") == TagPage(["v1"], "")
    assert [each["artifactType"] for each in it.list_referrers("team/app", image.digest) or ()] == ["test/signature"]
    assert it.list_referrers("team/app", image.digest, "other/type") == []


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 4, b"0123"), (3, 6, b"345"), (8, None, b"89"), (8, 100, b"89"), (9, 10, b"9")],
)
def test_parts_of_blobs(peer: Scripted, start: int, end: int | None, expected: bytes) -> None:
    digest = peer.put_blob(b"0123456789")
    part = upstream(peer).open_blob("app", digest, start, end)
    assert (part.status, part.start, part.length, part.total) == (206, start, len(expected), 10)
    assert content(part) == expected


def test_a_registry_without_ranges_sends_the_whole(peer: Scripted) -> None:
    digest = peer.put_blob(b"0123456789")
    peer.script("*/blobs/*", faults.ignores_ranges())
    whole = upstream(peer).open_blob("app", digest, 3, 6)
    assert (whole.status, whole.start, content(whole)) == (200, 0, b"0123456789")


@pytest.mark.parametrize(
    "lie",
    [
        faults.says_range("bytes 0-2/10"),
        faults.says_range("bytes 3-4/10"),
        faults.says_range("bytes 3-6/10"),
        faults.says_range("bytes x-y/z"),
        faults.without("Content-Range"),
        faults.says_length(2),
    ],
)
def test_another_part_than_was_asked_for_is_refused(peer: Scripted, lie: faults.Fault) -> None:
    digest = peer.put_blob(b"0123456789")
    peer.script("*/blobs/*", lie)
    with pytest.raises(UpstreamContentInvalid):
        upstream(peer).open_blob("app", digest, 3, 6)


@pytest.mark.parametrize(
    "fault",
    [
        faults.cut(after=1000),
        faults.says_length(6000),
        faults.together(faults.chunked(), faults.cut(after=1000)),
    ],
)
def test_a_blob_that_ends_early_says_so(peer: Scripted, fault: faults.Fault) -> None:
    digest = peer.put_blob(b"x" * 5000)
    peer.script("*/blobs/*", fault)
    with pytest.raises(UpstreamUnreachable):
        content(upstream(peer).open_blob("app", digest))


def test_what_is_not_there(peer: Scripted) -> None:
    peer.put_image("app", "v1")
    it = upstream(peer)
    for ask in (
        lambda: it.head_manifest("app", "v2"),
        lambda: it.get_manifest("app", ABSENT),
        lambda: it.head_blob("app", ABSENT),
        lambda: it.open_blob("app", ABSENT),
        lambda: it.list_tags("other"),
    ):
        with pytest.raises(UpstreamNotFound):
            ask()
    peer.script("*/referrers/*", faults.refuse(404))
    assert it.list_referrers("app", ABSENT) is None


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [("7", 7, 7), ("in an hour", 3500, 3600), ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0), ("999999999", 86400, 86400)],
)
def test_a_rate_limit_says_how_long(peer: Scripted, header: str, low: int, high: int) -> None:
    sent = formatdate(time.time() + 3600, usegmt=True) if header == "in an hour" else header
    peer.script("*", faults.too_many(sent))
    with pytest.raises(UpstreamRateLimited) as caught:
        upstream(peer).head_manifest("app", "v1")
    assert caught.value.retry_after is not None
    assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize("header", [None, "soon", "-1", "1e9", "²"])
def test_a_rate_limit_without_a_time(peer: Scripted, header: str | None) -> None:
    peer.script("*", faults.too_many(header and header.encode().decode("latin-1")))
    with pytest.raises(UpstreamRateLimited) as caught:
        upstream(peer).head_manifest("app", "v1")
    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [400, 405, 500, 502, 503, 504])
def test_other_statuses_are_no_answer(peer: Scripted, status: int) -> None:
    peer.script("*", faults.refuse(status), always=True)
    it = upstream(peer)
    for ask in (it.ping, lambda: it.get_manifest("app", "v1"), lambda: it.open_blob("app", ABSENT)):
        with pytest.raises(UpstreamUnreachable, match=str(status)):
            ask()


def test_a_registry_that_is_down(peer: Scripted) -> None:
    it = upstream(peer)
    peer.stop()
    with pytest.raises(UpstreamUnreachable):
        it.ping()


def test_a_connection_that_was_closed_meanwhile_is_made_anew(peer: Scripted) -> None:
    it = upstream(peer)
    it.ping()
    peer.script("*", faults.hang_up())
    it.ping()
    peer.script("*", faults.hang_up(), faults.hang_up())
    with pytest.raises(UpstreamUnreachable):
        it.ping()


def test_wrong_bytes_are_no_manifest(peer: Scripted) -> None:
    image = peer.put_image("app", "v1")
    it = upstream(peer)
    for reference in ("v1", image.digest):
        peer.script("*/manifests/*", faults.wrong_bytes())
        with pytest.raises(UpstreamContentInvalid):
            it.get_manifest("app", reference)
    peer.script("*/manifests/*", faults.saying(Docker_Content_Digest=ABSENT))
    with pytest.raises(UpstreamContentInvalid):
        it.head_manifest("app", image.digest)


def test_a_manifest_that_is_too_large(peer: Scripted) -> None:
    peer.put_manifest("app", b"{" + b" " * (4 << 20) + b"}", tag="v1")
    with pytest.raises(UpstreamUnreachable):
        upstream(peer).get_manifest("app", "v1")


def test_a_registry_that_tells_no_digest(peer: Scripted) -> None:
    image = peer.put_image("app", "v1")
    peer.script("*/manifests/*", faults.without("Docker-Content-Digest"), always=True)
    it = upstream(peer)
    assert it.head_manifest("app", "v1") == Descriptor(image.digest, MANIFEST, len(image.manifest))
    assert it.get_manifest("app", "v1")[2] == image.digest


def test_a_manifest_that_is_said_to_be_too_large(peer: Scripted) -> None:
    peer.put_image("app", "v1")
    peer.script("*/manifests/*", faults.says_length(10**17), method="HEAD")
    with pytest.raises(UpstreamContentInvalid):
        upstream(peer).head_manifest("app", "v1")


@pytest.mark.parametrize("status", [405, 501])
def test_a_registry_without_head(peer: Scripted, status: int) -> None:
    image = peer.put_image("app", "v1", layers=[b"0123456789"])
    peer.script("*", faults.refuse(status), method="HEAD", always=True)
    it = upstream(peer)
    assert it.head_manifest("app", "v1") == Descriptor(image.digest, MANIFEST, len(image.manifest))
    assert it.head_blob("app", image.layers[0]) == 10
    with pytest.raises(UpstreamNotFound):
        it.head_manifest("app", "v2")
    with pytest.raises(UpstreamNotFound):
        it.head_blob("app", ABSENT)


def test_pages_of_referrers(peer: Scripted) -> None:
    image = peer.put_image("app", "v1")
    peer.put_image("app", subject={"digest": image.digest}, artifactType="test/signature")
    elsewhere = '<http://10.0.0.1/?next_page=x>; rel="next"'
    peer.script("*/referrers/*", faults.saying(Link=elsewhere), faults.saying(Link=elsewhere))
    assert len(upstream(peer).list_referrers("app", image.digest) or ()) == 3
    assert [asked.query for asked in peer.asked("GET", "*/referrers/*")] == ["", "next_page=x", "next_page=x"]
    peer.script("*/referrers/*", faults.saying(Link=elsewhere), always=True)
    with pytest.raises(UpstreamUnreachable, match="pages"):
        upstream(peer).list_referrers("app", image.digest)


def test_a_manifest_that_drips_takes_no_longer_than_it_may(peer: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_CALL_SECONDS", 1.0)
    peer.put_image("app", "v1")
    peer.script("*/manifests/*", faults.drip(20))
    began = time.monotonic()
    with pytest.raises(UpstreamUnreachable, match="too long"):
        upstream(peer).get_manifest("app", "v1")
    assert time.monotonic() - began < 5


def test_blobs_on_another_host_are_fetched_without_our_credentials(peer: Scripted) -> None:
    peer.basic = ("who", "secret")
    image = peer.put_image("app", "v1", layers=[b"0123456789"])
    with scripted("127.0.0.2") as cdn:
        peer.redirect_blobs(cdn)
        it = upstream(peer, "who", "secret")
        it.ping()
        part = it.open_blob("app", image.layers[0], 2, 5)
        assert (part.status, content(part)) == (206, b"234")
        [asked] = cdn.asked()
        assert asked.query == "signature=of-the-cdn"
        assert "authorization" not in asked.headers
        assert any("authorization" in each.headers for each in peer.asked("GET", "*/blobs/*"))


def test_a_password_goes_to_no_token_service_of_another_host(peer: Scripted, tokens: TokenService) -> None:
    image = peer.put_image("app", "v1")
    with scripted("127.0.0.2", tokens=tokens) as cdn:
        peer.redirect_blobs(cdn)
        peer.script("*/manifests/*", faults.redirect(f"{cdn.url}{{path}}"), always=True)
        it = upstream(peer, USER, PASSWORD)
        for ask in (lambda: it.open_blob("app", image.layers[0]), lambda: it.get_manifest("app", "v1")):
            with pytest.raises(UpstreamUnauthorized):
                ask()
        assert [asked.status for asked in cdn.asked()] == [401, 401]
    assert tokens.asked() == []


def test_a_redirect_loop_ends(peer: Scripted) -> None:
    peer.script("*", faults.redirect("{path}"), always=True)
    with pytest.raises(UpstreamUnreachable, match="redirects"):
        upstream(peer).open_blob("app", ABSENT)
    assert peer.count() < 10


@pytest.mark.parametrize(
    "to", ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://10.0.0.1/"]
)
def test_a_redirect_to_what_must_not_be_called(peer: Scripted, to: str) -> None:
    peer.script("*", faults.redirect(to), always=True)
    it = upstream(peer)
    for ask in (it.ping, lambda: it.open_blob("app", ABSENT)):
        with pytest.raises(UpstreamUnreachable, match="private address"):
            ask()


def test_a_token_is_fetched_once_for_each_repository(peer: Scripted, tokens: TokenService) -> None:
    tokens.anonymous = False
    peer.tokens = tokens
    for name in ("app", "other"):
        peer.put_image(name, "v1")
    it = upstream(peer, USER, PASSWORD)
    for _ in range(3):
        for name in ("app", "other"):
            it.get_manifest(name, "v1")
    assert len(tokens.asked()) == 2
    assert [asked.status for asked in peer.asked()].count(401) == 1
    assert all("scope=repository%3A" in asked.query for asked in tokens.asked())


def test_an_expired_token_is_renewed(peer: Scripted, tokens: TokenService) -> None:
    peer.tokens = tokens
    image = peer.put_image("app", "v1")
    it = upstream(peer)
    it.get_manifest("app", "v1")
    tokens.revoke()
    it.get_manifest("app", "v1")
    tokens.revoke()
    content(it.open_blob("app", image.layers[0]))
    tokens.seconds = 2
    tokens.revoke()
    it.get_manifest("app", "v1")
    asked = len(tokens.asked())
    peer.forget()
    time.sleep(1.7)
    it.get_manifest("app", "v1")
    assert len(tokens.asked()) == asked + 1
    assert [each.status for each in peer.asked()] == [200], "a token is renewed before it ends"


def test_wrong_credentials(peer: Scripted, tokens: TokenService) -> None:
    peer.tokens = tokens
    peer.put_image("app", "v1")
    it = upstream(peer, USER, "wrong")
    for ask in (it.ping, lambda: it.get_manifest("app", "v1"), lambda: it.open_blob("app", ABSENT)):
        with pytest.raises(UpstreamUnauthorized) as caught:
            ask()
        assert "wrong" not in str(caught.value).replace("credentials are wrong", "")
    peer.tokens, peer.basic = None, ("who", "secret")
    for name, password in (("who", "wrong"), ("", "")):
        it = upstream(peer, name, password)
        peer.forget()
        with pytest.raises(UpstreamUnauthorized):
            it.get_manifest("app", "v1")
        # Whether it is the credentials or the repository that is refused, `/v2/` tells.
        assert len(peer.asked()) == (3 if name else 2)


def test_a_ping_without_credentials_only_wants_an_answer(peer: Scripted, tokens: TokenService) -> None:
    tokens.anonymous = False
    peer.tokens = tokens
    upstream(peer).ping()
    peer.tokens, peer.basic = None, ("who", "secret")
    upstream(peer).ping()
    upstream(peer, "who", "secret").ping()
    peer.script("*", faults.refuse(500))
    with pytest.raises(UpstreamUnreachable):
        upstream(peer).ping()


def test_a_token_service_that_is_not_well(peer: Scripted, tokens: TokenService) -> None:
    peer.tokens = tokens
    tokens.status = 429
    with pytest.raises(UpstreamRateLimited):
        upstream(peer).head_manifest("app", "v1")
    for status in (404, 500):  # also a 404 says nothing of the manifest
        tokens.status = status
        with pytest.raises(UpstreamUnreachable):
            upstream(peer).head_manifest("app", "v1")


@pytest.mark.parametrize("said", ["1e999", "-1", "NaN", '"soon"', "[]", "true", "1" + "0" * 400])
def test_a_token_lives_for_a_while_whatever_its_service_says(peer: Scripted, said: str) -> None:
    image = peer.put_image("app", "v1")
    wanted = faults.refuse(401, WWW_Authenticate=f'Bearer realm="{peer.url}/token"')

    def ask(request: faults.Request, reply: faults.Reply) -> faults.Reply:
        return reply if "authorization" in request.headers else wanted(request, reply)

    body = f'{{"token": "good", "expires_in": {said}}}'.encode()
    peer.script("/token", lambda _, __: faults.Reply(200, {}, body), always=True)
    peer.script("/v2/*", ask, always=True)
    it = upstream(peer)
    for _ in range(2):
        assert it.head_manifest("app", "v1").digest == image.digest
    assert peer.count("GET", "/token") == 1


@pytest.mark.parametrize(
    "realm",
    ["http://169.254.169.254/token", "http://[::ffff:a9fe:a9fe]/", "http://2852039166/", "file:///etc/passwd", ""],
)
def test_a_token_service_must_not_be_inside(peer: Scripted, realm: str) -> None:
    peer.script("*", faults.refuse(401, WWW_Authenticate=f'Bearer realm="{realm}"'), always=True)
    with pytest.raises((UpstreamUnreachable, UpstreamUnauthorized)):
        upstream(peer, "who", "secret").ping()


def test_a_password_goes_to_no_token_service_without_tls(certificate: Certificate, tokens: TokenService) -> None:
    with scripted(tls=certificate) as peer:
        peer.tokens = tokens
        with pytest.raises(UpstreamUnauthorized, match="unencrypted"):
            upstream(peer, USER, PASSWORD, insecure=True).ping()
        assert tokens.asked() == []
        peer.put_image("app", "v1")
        upstream(peer, insecure=True).get_manifest("app", "v1")


def test_certificates_are_checked_unless_told_otherwise(certificate: Certificate, tmp_path: Path) -> None:
    with scripted(tls=certificate) as peer:
        with pytest.raises(UpstreamUnreachable, match="SSL"):
            upstream(peer).ping()
        upstream(peer, insecure=True).ping()
        upstream(peer, ca_certificate=certificate.file.read_text()).ping()
        other = make_certificate(tmp_path / "other", "127.0.0.1")
        with pytest.raises(UpstreamUnreachable, match="SSL"):
            upstream(peer, ca_certificate=other.file.read_text()).ping()


def test_listeners_hear_of_every_request(peer: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr(client, "_REQUESTS", [])
    client.on_request(heard.append)
    peer.put_image("app", "v1")
    it = upstream(peer, number=7)
    it.head_manifest("app", "v1")
    it.get_manifest("app", "v1")
    assert heard == [7, 7] == [7] * peer.count()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="a b"', {"basic": {"realm": "a b"}}),
        (
            'Bearer realm="https://auth.test/token",service="reg",scope="repository:a/b:pull,push"',
            {"bearer": {"realm": "https://auth.test/token", "service": "reg", "scope": "repository:a/b:pull,push"}},
        ),
        ('bearer Realm=x, error="a \\"b\\""', {"bearer": {"realm": "x", "error": 'a "b"'}}),
        ('Basic realm="x", Bearer realm="y"', {"basic": {"realm": "x"}, "bearer": {"realm": "y"}}),
        ("Negotiate", {}),
        ("", {}),
    ],
)
def test_challenges(header: str, expected: dict[str, dict[str, str]]) -> None:
    assert parse(header) == expected


@pytest.mark.parametrize("part", ["a", "a ", "a b", "a b=", 'a b="', 'a b="\\"', "a b=c,", "a-", " "])
def test_a_long_challenge_that_is_none_takes_no_time(part: str) -> None:
    begin = time.monotonic()
    parse(part * (65_536 // len(part)))
    assert time.monotonic() - begin < 5


def test_the_process_keeps_a_client_for_a_record_as_it_is(peer: Scripted) -> None:
    record = endpoint(peer.url)
    assert client.of(record) is client.of(record)
    assert client.of(record) is not client.of(endpoint(peer.url))


@pytest.mark.parametrize("host", ["hub.docker.com", "docker.io", "index.docker.io", "registry.hub.docker.com"])
def test_docker_hub_serves_elsewhere_than_people_say(host: str) -> None:
    assert registry_address("docker-hub", f"https://{host}") == "https://registry-1.docker.io"
    assert registry_address("docker-registry", f"https://{host}") == f"https://{host}"
    assert registry_address("docker-hub", "https://mirror.example.com") == "https://mirror.example.com"
