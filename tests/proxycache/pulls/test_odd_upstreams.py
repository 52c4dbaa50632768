"""Upstream registries that say less, or other things, than the protocol has: what clients are told then."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import RegistryError
from chalicelib.registry.store import manifests as table
from chalicelib.upstreams.authorization import Credential
from chalicelib.upstreams.client import Upstream
from chalicelib.upstreams.errors import UpstreamContentInvalid, UpstreamError, UpstreamHidden
from tests.proxycache.pulls.conftest import Proxy
from tests.upstreams.endpoints import endpoint
from tests.upstreams.servers.certificates import make_certificate
from tests.upstreams.servers.contents import MANIFEST
from tests.upstreams.servers.faults import Fault, Reply, Request, hang_up, redirect, refusal, refuse
from tests.upstreams.servers.scripted import Scripted, scripted
from tests.upstreams.servers.tokens import token_service

Client = Callable[[str, str], Upstream]

_PAGE = b"<html>Please log in</html>"


def answer(status: int, body: bytes, **headers: str) -> Fault:
    """Another answer altogether; headers are named with underscores."""
    return lambda _, __: Reply(status, {}, body).having(**headers)


def login_page() -> Fault:
    return answer(200, _PAGE, Content_Type="text/html")


def without(*names: str, **others: str) -> Fault:
    """The right answer, without some of its headers and with others."""

    def fault(_: Request, reply: Reply) -> Reply:
        kept = {name: text for name, text in reply.headers.items() if name.lower() not in names}
        return replace(reply, headers=kept).having(**others)

    return fault


@pytest.fixture
def make_client(upstream: Scripted) -> Client:
    """A client of the upstream with a name and a password."""
    return lambda name, password: Upstream(endpoint(upstream.url, access_key=name), Credential(name, password))


@pytest.mark.parametrize(
    "fault",
    [*(refuse(status) for status in (400, 401, 403, 404, 405, 406, 500, 501)), hang_up(), login_page()],
    ids=["400", "401", "403", "404", "405", "406", "500", "501", "no answer", "a page"],
)
def test_a_list_of_referrers_that_upstream_does_not_give_is_not_an_empty_one(
    proxy: Proxy, upstream: Scripted, fault: Fault
) -> None:
    """Clients look for the tag that lists them after a 404 alone (distribution-spec, "Referrers Tag Schema")."""
    image = upstream.put_image("app", "v1")
    upstream.script("*/referrers/*", fault, always=True)
    assert proxy.get(f"app/referrers/{image.digest}").status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_login_page_is_no_manifest(proxy: Proxy, upstream: Scripted, method: str) -> None:
    image = upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").status == 200
    upstream.script("*", login_page(), always=True)
    known = proxy.ask(method, "app/manifests/v1")
    assert (known.status, known.headers["Docker-Content-Digest"]) == (200, image.digest)
    assert proxy.ask(method, "other/manifests/v1").status == 502


@pytest.mark.parametrize(
    "fault",
    [
        without(Content_Type="application/json"),
        without(Content_Type="application/octet-stream"),
        without("content-type"),
        without(Content_Type="Application/VND.OCI.image.manifest.v1+JSON"),
    ],
)
def test_a_manifest_says_its_type_where_upstream_says_another(proxy: Proxy, upstream: Scripted, fault: Fault) -> None:
    image = upstream.put_image("app", "v1")
    upstream.script("*/manifests/*", fault, always=True)
    for method in ("HEAD", "GET"):
        told = proxy.ask(method, "app/manifests/v1")
        assert (told.status, told.headers["Content-Type"].lower()) == (200, image.media_type)


ODD = {
    "a key twice": ('{"schemaVersion"', '{"schemaVersion": 2, "schemaVersion"'),
    "a size that is no number": ('"size": 2000', '"size": "2000"'),
    "a layer of no digest": ('"digest": "sha256', '"digest": "sha-256'),
}
"""What makes manifests of which Berth takes none from a pusher, and that others hand out."""


def put_odd(upstream: Scripted, name: str) -> tuple[str, bytes]:
    content = upstream.put_image("app").manifest.decode().replace(*ODD[name]).encode()
    return upstream.put_manifest("app", content, tag="v1"), content


@pytest.mark.parametrize("name", ODD)
def test_what_berth_would_not_take_from_a_pusher_is_handed_on(proxy: Proxy, upstream: Scripted, name: str) -> None:
    digest, content = put_odd(upstream, name)
    with pytest.raises(RegistryError):
        manifests.parse(content, MANIFEST)
    for reference in ("v1", digest):
        for method in ("HEAD", "GET"):
            told = proxy.ask(method, f"app/manifests/{reference}")
            assert (told.status, told.headers["Docker-Content-Digest"]) == (200, digest)
            assert (told.headers["Content-Type"], told.headers["Content-Length"]) == (MANIFEST, str(len(content)))
        assert told.body == content
    assert table.read_record(f"{proxy.name}/app", digest) is None, "it is kept"


def test_nothing_is_handed_on_where_policies_look_at_what_is_pulled(
    make_proxy: Callable[..., Proxy], upstream: Scripted
) -> None:
    put_odd(upstream, "a key twice")
    assert make_proxy(upstream.url, prevent_vul="true").get("app/manifests/v1").status == 502


@pytest.mark.parametrize("before", [True, False], ids=["here", "not here"])
@pytest.mark.parametrize(
    "fault", [without(Content_Length="0"), without(Content_Encoding="gzip", Content_Length="300")], ids=["none", "gzip"]
)
def test_a_size_that_is_not_the_manifests_is_not_repeated(
    proxy: Proxy, upstream: Scripted, fault: Fault, before: bool
) -> None:
    image = upstream.put_image("app", "v1")
    if before:
        proxy.get("app/manifests/v1")
        proxy.later()

    def lie(request: Request, reply: Reply) -> Reply:
        changed = fault(request, reply)
        return replace(changed, length=int(changed.headers["Content-Length"]))

    upstream.script("*/manifests/*", lie, method="HEAD", always=True)
    assert proxy.ask("HEAD", "app/manifests/v1").headers["Content-Length"] == str(len(image.manifest))


def test_credentials_are_shown_where_a_stranger_is_told_404(upstream: Scripted, make_client: Client) -> None:
    image = upstream.put_image("app", "v1")
    upstream.basic = ("who", "secret")

    def hide(_: Request, reply: Reply) -> Reply:
        return refusal(404) if reply.status == 401 else reply

    upstream.script("*/manifests/*", hide, always=True)
    client = make_client("who", "secret")
    assert client.head_manifest("app", "v1").digest == image.digest
    upstream.forget()
    client.head_manifest("app", "v1")
    assert len(upstream.asked()) == 1, "how to show them is asked once"


@pytest.mark.parametrize(
    "link",
    [
        '</v2/app/tags/list?next_page=2&n={n}>; rel="next"',
        '</v2/app/tags/list?n={n}&last=v2>; title="more"; rel="next"',
        "</v2/app/tags/list?n={n}&last=v2>; rel=next",
        '</v2/app/tags/list?n={n}&last=v1>; rel="prev", </v2/app/tags/list?n={n}&last=v2>; rel="next last"',
    ],
)
def test_all_tags_come_however_the_next_page_is_named(proxy: Proxy, upstream: Scripted, link: str) -> None:
    upstream.put_image("app", "v1")

    def page(request: Request, _: Reply) -> Reply:
        first = "next_page" not in request.query and request.query.get("last") != "v2"
        body = json.dumps({"name": "app", "tags": ["v1", "v2"] if first else ["v3"]}).encode()
        headers = {"Link": link.format(n=request.query.get("n", "2"))} if first else {}
        return Reply(200, {"Content-Type": "application/json", **headers}, body)

    upstream.script("*/tags/list", page, always=True)
    first = proxy.get("app/tags/list", n="2")
    assert json.loads(first.body)["tags"] == ["v1", "v2"]
    rest = proxy.get("app/tags/list", **dict(parse_qsl(urlsplit(first.headers["Link"].partition(">")[0]).query)))
    assert json.loads(rest.body)["tags"] == ["v3"]
    assert "Link" not in rest.headers


def test_fewer_tags_are_taken_where_so_many_are_refused(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")

    def at_most_a_hundred(request: Request, reply: Reply) -> Reply:
        return refusal(400) if int(request.query.get("n", "0")) > 100 else reply

    upstream.script("*/tags/list", at_most_a_hundred, always=True)
    assert json.loads(proxy.get("app/tags/list", n="500").body)["tags"] == ["v1"]


def test_tags_that_nobody_has_seen_are_not_said_to_be_missing_while_upstream_is_down(
    proxy: Proxy, upstream: Scripted
) -> None:
    upstream.script("*", refuse(503), always=True)
    assert proxy.get("app/tags/list").status == 502


@pytest.mark.parametrize("status", [401, 403])
def test_what_upstream_refuses_to_tell_of_is_missing_or_hidden(proxy: Proxy, upstream: Scripted, status: int) -> None:
    """Docker Hub and GHCR answer a mistyped name so; it is no fault that an operator is to be woken for."""
    upstream.script("/v2/other/*", refuse(status, "DENIED"), always=True)
    for path in ("other/manifests/v1", "other/tags/list"):
        refused = proxy.get(path)
        assert refused.status == 404
        assert b"hidden from these credentials" in refused.body


@pytest.mark.parametrize("status", [401, 403])
def test_a_name_that_the_token_service_refuses_is_missing_or_hidden(
    make_proxy: Callable[..., Proxy], tmp_path: Path, status: int
) -> None:
    """GHCR's answers a mistyped name so, before the registry is asked."""
    with token_service(make_certificate(tmp_path)) as tokens, scripted(tokens=tokens) as upstream:
        upstream.put_image("app", "v1")
        proxy = make_proxy(upstream.url)
        assert proxy.get("app/manifests/v1").status == 200
        tokens.status = status
        absent = digests.of(b"absent")
        for path, code in (
            ("other/manifests/v1", "MANIFEST_UNKNOWN"),
            ("other/tags/list", "NAME_UNKNOWN"),
            (f"other/blobs/{absent}", "BLOB_UNKNOWN"),
        ):
            refused = proxy.get(path)
            assert (refused.status, json.loads(refused.body)["errors"][0]["code"]) == (404, code)


def test_a_name_that_upstream_does_not_know_has_no_tags(make_proxy: Callable[..., Proxy], upstream: Scripted) -> None:
    for keeps in ("true", "false"):
        refused = make_proxy(upstream.url, proxy_cache_local_on_not_found=keeps).get("other/tags/list")
        assert (refused.status, json.loads(refused.body)["errors"][0]["code"]) == (404, "NAME_UNKNOWN")


def test_a_login_page_that_says_it_is_a_manifest_is_none(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    for body in (_PAGE, b"", b"null", b"[]"):
        upstream.heal()
        upstream.script("*/manifests/*", answer(200, body, Content_Type=image.media_type), always=True)
        for method in ("HEAD", "GET"):
            assert proxy.ask(method, "app/manifests/v1").status == 502


def test_a_store_that_refuses_a_head_is_asked_by_a_get(upstream: Scripted, make_client: Client) -> None:
    """An address that is signed for a GET is good for no HEAD."""
    digest = upstream.put_blob(b"0123456789")
    with scripted() as cdn:
        cdn.blobs = upstream.blobs
        upstream.script("/v2/*/blobs/*", redirect(f"{cdn.url}{{path}}"), always=True)
        cdn.script("*", refuse(403), method="HEAD", always=True)
        assert make_client("", "").head_blob("app", digest) == 10
        cdn.script("*", refuse(403), always=True)
        with pytest.raises(UpstreamError) as caught:
            make_client("", "").head_blob("app", digest)
        assert not isinstance(caught.value, UpstreamHidden), "what another host refuses says nothing of the repository"


@pytest.mark.parametrize("fault", [refuse(416), without("content-range")], ids=["416", "no range told"])
def test_a_blob_is_asked_for_as_a_whole_where_ranges_are_not_known(
    upstream: Scripted, make_client: Client, fault: Fault
) -> None:
    content = b"content of a blob"
    digest = upstream.put_blob(content)

    def only_for_ranges(request: Request, reply: Reply) -> Reply:
        return fault(request, reply) if "range" in request.headers else reply

    upstream.script("*/blobs/*", only_for_ranges, always=True)
    body = make_client("", "").open_blob("app", digest, 0, 8)
    assert (body.status, b"".join(body)) == (200, content)
    assert digests.of(content) == digest


def test_a_web_site_is_no_registry(upstream: Scripted, make_client: Client) -> None:
    upstream.script("/v2/", login_page(), always=True)
    with pytest.raises(UpstreamContentInvalid):
        make_client("", "").ping()
