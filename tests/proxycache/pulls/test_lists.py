"""Tags and referrers of a proxy project's repositories."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from chalicelib.proxycache import freshness
from chalicelib.settings import settings
from tests.proxycache.pulls.conftest import Proxy
from tests.registry.test_budgets import counted
from tests.upstreams.servers.contents import Image
from tests.upstreams.servers.faults import Fault, refuse, saying, too_many
from tests.upstreams.servers.scripted import Scripted

_SIGNATURE = "application/vnd.example.signature"


def _tags(proxy: Proxy, **query: str) -> list[str]:
    answer = proxy.get("app/tags/list", **query)
    assert answer.status == 200, answer.body
    return list(json.loads(answer.body)["tags"])


def _signed(upstream: Scripted) -> tuple[Image, Image]:
    image = upstream.put_image("app", "v1")
    subject = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}
    return image, upstream.put_image("app", subject=subject, artifactType=_SIGNATURE)


def _referrers(proxy: Proxy, digest: str, **query: str) -> list[dict[str, Any]]:
    answer = proxy.get(f"app/referrers/{digest}", **query)
    assert answer.status == 200, answer.body
    return list(json.loads(answer.body)["manifests"])


def test_tags_are_upstreams(proxy: Proxy, upstream: Scripted) -> None:
    for tag in ("v1", "v2", "v3"):
        upstream.put_image("app", tag)
    assert _tags(proxy) == ["v1", "v2", "v3"]
    assert proxy.get("other/tags/list").status == 404


def test_pages_of_tags(proxy: Proxy, upstream: Scripted) -> None:
    for tag in ("v1", "v2", "v3"):
        upstream.put_image("app", tag)
    first = proxy.get("app/tags/list", n="2")
    assert json.loads(first.body)["tags"] == ["v1", "v2"]
    assert first.headers["Link"] == f'</v2/{proxy.name}/app/tags/list?n=2&last=v2>; rel="next"'
    rest = proxy.get("app/tags/list", n="2", last="v2")
    assert json.loads(rest.body)["tags"] == ["v3"]
    assert "Link" not in rest.headers
    upstream.forget()
    assert _tags(proxy, n="0") == []
    assert upstream.count() == 0


def test_the_last_list_is_kept_for_when_upstream_fails(proxy: Proxy, upstream: Scripted) -> None:
    for tag in ("v1", "v2"):
        upstream.put_image("app", tag)
    assert _tags(proxy) == ["v1", "v2"]
    for fault in (refuse(500), too_many("1")):
        upstream.script("*/tags/list", fault, always=True)
        assert _tags(proxy) == ["v1", "v2"]
        upstream.heal()
        freshness._replies.clear()


def test_local_tags_are_listed_where_upstream_never_told_any(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    proxy.get("app/manifests/v1")
    upstream.script("*/tags/list", refuse(401), always=True)
    assert _tags(proxy) == ["v1"]


def test_tags_that_are_gone_upstream_are_listed_where_they_are_kept(
    make_proxy: Callable[..., Proxy], upstream: Scripted
) -> None:
    proxy = make_proxy(upstream.url, proxy_cache_local_on_not_found="true")
    for tag in ("v1", "v2", "v3", "v4"):
        upstream.put_image("app", tag)
        proxy.get(f"app/manifests/{tag}")
    for tag in ("v2", "v4"):
        del upstream.tags["app"][tag]
    assert _tags(proxy) == ["v1", "v2", "v3", "v4"]
    found, after = [], ""
    for _ in range(4):
        page = _tags(proxy, n="1", last=after)
        found += page
        after = page[-1]
    assert found == ["v1", "v2", "v3", "v4"]


def test_a_mark_of_upstreams_may_be_no_tag(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    mark = "opaque/" * 100
    upstream.script("*/tags/list", saying(Link=f'</v2/app/tags/list?last={mark}>; rel="next"'))
    first = proxy.get("app/tags/list", n="1")
    [after] = parse_qs(urlsplit(first.headers["Link"].partition(">")[0]).query)["last"]
    assert after == mark
    proxy.get("app/tags/list", n="1", last=after)
    [_, second] = upstream.asked("GET", "*/tags/list")
    assert parse_qs(second.query)["last"] == [mark]


def test_a_page_without_a_tag_is_not_the_end(make_proxy: Callable[..., Proxy], upstream: Scripted) -> None:
    proxy = make_proxy(upstream.url, proxy_cache_local_on_not_found="true")
    for tag in ("!", "v1"):
        upstream.put_image("app", tag)
    first = proxy.get("app/tags/list", n="1")
    assert (first.status, json.loads(first.body)["tags"]) == (200, [])
    assert first.headers["Link"] == f'</v2/{proxy.name}/app/tags/list?n=1&last=%21>; rel="next"'
    assert _tags(proxy, n="1", last="!") == ["v1"]


def _has(tags: list[str]) -> Fault:
    """All tags at once, as of a registry that knows no pages."""
    return lambda _, reply: replace(
        reply, status=200, headers={}, body=json.dumps({"name": "app", "tags": tags}).encode()
    )


def test_a_long_list_is_kept_in_the_table_and_in_no_process(
    proxy: Proxy, upstream: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_PROXY_FRESH_SECONDS", "60")
    settings.cache_clear()
    tags = sorted(f"{number:04}-{'long' * 8}" for number in range(900))
    upstream.script("*/tags/list", _has(tags), always=True)
    upstream.forget()
    for _ in range(2):
        assert _tags(proxy) == tags
        assert not [key for key in freshness._replies._entries if f"|{proxy.name}/" in key[0]]
    with counted() as calls:
        assert _tags(proxy) == tags
    assert calls.summary == (1, 0, 0)
    assert upstream.count(path="*/tags/list") == 1


def test_all_the_tags_of_a_registry_without_pages_are_cut_into_pages(
    proxy: Proxy, upstream: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressed, they are too long for an item, and so upstream would be asked by everyone."""
    monkeypatch.setenv("BERTH_PROXY_FRESH_SECONDS", "60")
    settings.cache_clear()
    tags = sorted(os.urandom(64).hex() for _ in range(9_500))
    upstream.script("*/tags/list", _has(tags), always=True)
    upstream.forget()
    assert _tags(proxy) == tags[:1000]
    assert _tags(proxy) == tags[:1000]
    assert upstream.count(path="*/tags/list") == 1
    found: list[str] = []
    for _ in range(10):
        found += _tags(proxy, last=found[-1] if found else "")
    assert found == tags
    assert "Link" not in proxy.get("app/tags/list", last=tags[-501]).headers


def test_what_upstream_names_that_is_no_tag_is_left_out(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    upstream.tags["app"]['v"><script>'] = "sha256:0"
    assert _tags(proxy) == ["v1"]


def test_referrers_are_upstreams(proxy: Proxy, upstream: Scripted) -> None:
    image, signature = _signed(upstream)
    assert [each["digest"] for each in _referrers(proxy, image.digest)] == [signature.digest]
    assert [each["digest"] for each in _referrers(proxy, image.digest, artifactType=_SIGNATURE)] == [signature.digest]
    assert _referrers(proxy, image.digest, artifactType="application/vnd.example.other") == []
    upstream.script("*/referrers/*", refuse(500), always=True)
    assert [each["digest"] for each in _referrers(proxy, image.digest)] == [signature.digest]


def test_an_upstream_without_referrers_sends_clients_to_the_tag_that_lists_them(
    proxy: Proxy, upstream: Scripted
) -> None:
    image, signature = _signed(upstream)
    upstream.script("*/referrers/*", refuse(404), always=True)
    assert proxy.get(f"app/referrers/{image.digest}").status == 404
    proxy.get(f"app/manifests/{signature.digest}")
    assert [each["digest"] for each in _referrers(proxy, image.digest)] == [signature.digest]  # what is here


def test_referrers_stay_local_where_the_project_says_so(make_proxy: Callable[..., Proxy], upstream: Scripted) -> None:
    proxy = make_proxy(upstream.url, proxy_referrer_api="false")
    image, signature = _signed(upstream)
    upstream.forget()
    assert _referrers(proxy, image.digest) == []
    assert upstream.count() == 0
    proxy.get(f"app/manifests/{signature.digest}")
    assert [each["digest"] for each in _referrers(proxy, image.digest)] == [signature.digest]
