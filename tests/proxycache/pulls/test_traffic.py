"""What pulls through a project come to: counted off the request path, shown in its summary, told as metrics."""

from __future__ import annotations

import json
import os

import pytest

from chalicelib import background
from chalicelib.project_deletion import delete as delete_project
from chalicelib.projects import rules
from chalicelib.proxycache import traffic
from chalicelib.proxycache.store import traffic as table
from chalicelib.proxycache.store.traffic import Traffic
from chalicelib.settings import settings
from chalicelib.v2 import hits
from tests.api.support import call
from tests.proxycache.pulls.conftest import Proxy
from tests.proxycache.pulls.test_blobs import follow
from tests.registry.images import push_blob
from tests.registry.test_budgets import counted
from tests.upstreams.servers.faults import drip
from tests.upstreams.servers.scripted import Scripted


@pytest.mark.usefixtures("administrator")
def test_hits_misses_and_what_they_saved(
    proxy: Proxy, upstream: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BERTH_PROXY_FRESH_SECONDS", "60")
    settings.cache_clear()
    image = upstream.put_image("app", "v1")
    layer = push_blob(f"{proxy.name}/app", os.urandom(10_000))["digest"]
    background.finish()
    for path in ("manifests/v1", "manifests/v1", f"manifests/{image.digest}", f"blobs/{layer}", "tags/list"):
        assert proxy.get(f"app/{path}").status in (200, 307)
    assert proxy.head(f"app/blobs/{layer}").status == 307
    capsys.readouterr()
    hits.blobs.flush()
    traffic.gathered.flush()
    fetched = sum(len(upstream.blobs[digest]) for digest in image.blobs)
    saved = 2 * len(image.manifest) + 10_000 - fetched
    # asked: HEAD and GET of the manifest, its three blobs, the tags
    assert table.read(proxy.project_id) == Traffic(6, hits=3, misses=1, upstream_requests=6, saved_bytes=saved)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "ProxyHits" in line]
    [metrics] = [each for each in told if each["project"] == str(proxy.project_id)]
    assert metrics["ProxyHits"] == [3.0]
    assert metrics["ProxyMisses"] == [1.0]
    assert metrics["ProxyUpstreamRequestsSaved"] == [0.0]
    assert metrics["ProxyBytesSaved"] == [float(saved)]
    summary = json.loads(call("GET", f"/projects/{proxy.name}/summary").body)
    assert summary["proxy_cache"] == {
        "hits": 3,
        "misses": 1,
        "upstream_requests": 6,
        "upstream_requests_saved": 0,
        "bytes_saved": saved,
    }


def test_a_cold_pull_saves_nothing_and_a_warm_one_all(
    proxy: Proxy, upstream: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the client is sent to wait on, and whether a blob was there when it asked for it."""
    monkeypatch.setenv("BERTH_PROXY_WAIT_SECONDS", "1")
    settings.cache_clear()
    image = upstream.put_image("app", "v1", layers=[os.urandom(20_000)])
    upstream.script(f"*{image.layers[0]}", drip(8_000), method="GET", always=True)
    redirects = 0
    for _ in range(2):
        assert proxy.get(f"app/manifests/{image.digest}").status == 200
        for blob in image.blobs:
            redirects += follow(proxy, f"app/blobs/{blob}")[1]
        hits.blobs.flush()
        traffic.gathered.flush()
    assert redirects >= 4
    size = len(image.manifest) + sum(len(upstream.blobs[digest]) for digest in image.blobs)
    found = table.read(proxy.project_id)
    # the manifest and two blobs, once
    assert (found.requests, found.hits + found.misses, found.upstream_requests) == (6, 6, 3)
    assert found.saved_requests == 3
    assert found.saved_bytes == size


def test_counting_waits_until_the_answer_has_left(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    proxy.get("app/manifests/v1")
    background.finish()
    with counted() as calls:
        proxy.get(f"app/manifests/{image.digest}")
    assert calls.summary == (1, 0, 0)
    before = table.read(proxy.project_id)
    traffic.gathered.flush()
    assert table.read(proxy.project_id).hits == before.hits + 1


def test_the_sums_go_with_the_project(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    assert proxy.head("app/manifests/v1").status == 200
    traffic.gathered.flush()
    assert table.read(proxy.project_id).requests == 1
    delete_project(rules.get(proxy.name))
    assert table.read(proxy.project_id) == Traffic()


@pytest.mark.usefixtures("administrator")
def test_other_projects_have_none(project: str) -> None:
    assert "proxy_cache" not in json.loads(call("GET", f"/projects/{project}/summary").body)
