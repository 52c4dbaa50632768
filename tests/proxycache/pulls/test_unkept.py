"""Manifests that upstream has and Berth would not take from a pusher: handed on, and not kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from chalicelib import background
from chalicelib.proxycache.store import replies
from chalicelib.registry.store import repositories
from tests.proxycache.pulls.conftest import Proxy
from tests.proxycache.pulls.test_blobs import follow
from tests.upstreams.servers.scripted import Scripted


def twice(upstream: Scripted, tag: str) -> tuple[str, bytes]:
    """A manifest with a key that stands twice."""
    content = upstream.put_image("app").manifest.replace(b"{", b'{"annotations": {}, "annotations": {}, ', 1)
    return upstream.put_manifest("app", content, tag=tag), content


def test_what_may_not_be_pushed_is_handed_on_as_its_head_says(proxy: Proxy, upstream: Scripted) -> None:
    digest, content = twice(upstream, "v1")
    for reference in ("v1", digest):
        told, sent = (proxy.ask(method, f"app/manifests/{reference}") for method in ("HEAD", "GET"))
        assert (told.status, sent.status, sent.body) == (200, 200, content)
        for name in ("Docker-Content-Digest", "Content-Type", "Content-Length"):
            assert told.headers[name] == sent.headers[name]
    background.finish()
    assert not repositories.exists(f"{proxy.name}/app")


def test_what_is_handed_on_may_be_longer_than_a_reply_that_is_kept(proxy: Proxy, upstream: Scripted) -> None:
    """An item of DynamoDB has 400 KB; random bytes do not compress."""
    long = json.dumps({"x": os.urandom(replies.SIZE_LIMIT + 100_000).hex()}).encode()
    content = upstream.put_image("app").manifest.replace(b"{", b'{"annotations": {}, "annotations": ' + long + b", ", 1)
    digest = upstream.put_manifest("app", content, tag="v1")
    for reference in ("v1", digest, digest):
        assert proxy.get(f"app/manifests/{reference}").body == content


@pytest.mark.usefixtures("fill_function")
def test_the_blobs_of_what_is_handed_on_can_be_pulled(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app")
    content = image.manifest.replace(b"{", b'{"annotations": {}, "annotations": {}, ', 1)
    digest = upstream.put_manifest("app", content)
    assert proxy.get(f"app/manifests/{digest}").status == 200
    for blob in image.blobs:
        assert follow(proxy, f"app/blobs/{blob}")[0].headers["Docker-Content-Digest"] == blob


def test_other_bytes_than_the_digest_names_are_not_handed_on(proxy: Proxy, upstream: Scripted) -> None:
    digest, content = twice(upstream, "v1")
    upstream.script(
        f"*/manifests/{digest}", lambda _, reply: replace(reply, body=content + b" "), method="GET", always=True
    )
    for reference in ("v1", digest):
        assert proxy.get(f"app/manifests/{reference}").status == 502


def test_a_tag_moves_on_to_what_cannot_be_kept_and_back(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").body == image.manifest
    _, content = twice(upstream, "v1")
    assert proxy.get("app/manifests/v1").body == content
    upstream.tags["app"]["v1"] = image.digest
    assert proxy.get("app/manifests/v1").body == image.manifest


@pytest.mark.parametrize("policy", ["prevent_vul", "enable_content_trust_cosign"])
def test_what_no_policy_can_look_at_is_not_handed_on(
    make_proxy: Callable[..., Proxy], upstream: Scripted, policy: str
) -> None:
    digest, _ = twice(upstream, "v1")
    refused = make_proxy(upstream.url, **{policy: "true"}).get(f"app/manifests/{digest}")
    assert refused.status == 502


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"<html></html>", b"\xff\xfe{\x00}\x00", b'{"a": 1}'])
def test_what_is_no_manifest_to_anybody_is_refused(proxy: Proxy, upstream: Scripted, content: bytes) -> None:
    """Though upstream says that it is one."""
    digest = upstream.put_manifest("app", content, tag="v1")
    for reference in ("v1", digest):
        assert proxy.get(f"app/manifests/{reference}").status == 502


def test_a_manifest_that_names_no_type_is_known_by_what_it_has(proxy: Proxy, upstream: Scripted) -> None:
    """A manifest need not name its type (image-spec), and some servers name none either."""
    document = json.loads(upstream.put_image("app").manifest)
    kind = document.pop("mediaType")
    upstream.put_manifest("app", json.dumps(document).encode(), "application/json", tag="v1")
    for method in ("HEAD", "GET"):
        told = proxy.ask(method, "app/manifests/v1")
        assert (told.status, told.headers["Content-Type"]) == (200, kind)
