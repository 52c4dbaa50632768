"""What an upstream registry said is told to nobody who has it from another one by now, or with other credentials."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from chalicelib import project_deletion
from chalicelib.projects import rules
from chalicelib.settings import settings
from chalicelib.upstreams import endpoints
from chalicelib.upstreams.endpoints import Changes
from tests.proxycache.pulls.conftest import Proxy
from tests.upstreams.servers.faults import hang_up, too_many
from tests.upstreams.servers.scripted import Scripted, scripted

_CHANGES = [Changes(access_key="other", password="secret"), Changes(insecure=True)]


@pytest.fixture(autouse=True)
def _fresh_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_PROXY_FRESH_SECONDS", "60")
    settings.cache_clear()


@pytest.fixture
def other() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture
def remade(make_proxy: Callable[..., Proxy], proxy: Proxy, other: Scripted) -> Callable[[], Proxy]:
    """Delete `proxy`, and make one of the same name of another registry."""

    def remake() -> Proxy:
        project_deletion.delete(rules.get(proxy.name))
        return make_proxy(other.url, name=proxy.name)

    return remake


def test_a_project_that_is_made_anew_lists_nothing_of_its_predecessor(
    proxy: Proxy, upstream: Scripted, other: Scripted, remade: Callable[[], Proxy]
) -> None:
    image = upstream.put_image("app", "secret")
    subject = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}
    upstream.put_image("app", subject=subject)
    for path in ("app/tags/list", f"app/referrers/{image.digest}"):
        assert proxy.get(path).status == 200
    successor = remade()
    other.script("*", hang_up(), always=True)
    assert successor.get("app/tags/list").status == 502
    assert successor.get(f"app/referrers/{image.digest}").status == 404
    successor.later()  # in another process
    assert successor.get("app/tags/list").status == 502


def test_a_project_that_is_made_anew_asks_its_own_upstream(
    proxy: Proxy, upstream: Scripted, other: Scripted, remade: Callable[[], Proxy]
) -> None:
    upstream.put_image("app", "v1")
    upstream.put_image("app", "v2")
    assert proxy.head("app/manifests/v2").headers["Docker-Content-Digest"]  # fetches nothing, so that v2 waits
    upstream.script("*/manifests/*", too_many("60"), always=True)
    assert proxy.get("app/manifests/v1").status == 429
    new = {tag: other.put_image("app", tag) for tag in ("v1", "v2")}
    successor = remade()
    for tag, image in new.items():
        assert successor.get(f"app/manifests/{tag}").body == image.manifest


def test_a_tag_that_waited_for_its_predecessors_manifest_points_nowhere(
    proxy: Proxy, upstream: Scripted, other: Scripted, remade: Callable[[], Proxy]
) -> None:
    image = upstream.put_image("app", "v1")
    assert proxy.head("app/manifests/v1").status == 200
    other.manifests["app"] = dict(upstream.manifests["app"])
    successor = remade()
    assert successor.get(f"app/manifests/{image.digest}").status == 200
    other.script("*/tags/list", hang_up(), always=True)
    assert json.loads(successor.get("app/tags/list").body)["tags"] == []


@pytest.mark.parametrize("changes", _CHANGES, ids=["credentials", "certificates"])
def test_a_registry_that_is_reached_otherwise_is_asked_anew(proxy: Proxy, upstream: Scripted, changes: Changes) -> None:
    upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").status == 200
    assert proxy.get("app/tags/list").status == 200
    assert proxy.get("app/manifests/v2").status == 404
    moved = upstream.put_image("app", "v1")
    upstream.put_image("app", "v2")
    endpoints.update(rules.get(proxy.name).registry_id, changes)
    assert proxy.get("app/manifests/v1").body == moved.manifest
    assert json.loads(proxy.get("app/tags/list").body)["tags"] == ["v1", "v2"]
    assert proxy.get("app/manifests/v2").status == 200


def test_the_local_tags_outlive_a_change_of_the_registry(proxy: Proxy, upstream: Scripted) -> None:
    """Upstream's list is no more, what has been pulled is."""
    image = upstream.put_image("app", "v1")
    upstream.put_image("app", "v2")
    assert proxy.get("app/manifests/v1").status == 200
    assert proxy.get("app/tags/list").status == 200
    endpoints.update(rules.get(proxy.name).registry_id, Changes(description="the same, and out of reach"))
    upstream.script("*", hang_up(), always=True)
    assert proxy.get("app/manifests/v1").body == image.manifest
    assert json.loads(proxy.get("app/tags/list").body)["tags"] == ["v1"]
