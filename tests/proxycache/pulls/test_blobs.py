"""A blob that is not here yet: waited for while the state machine fetches it, through redirects or with a clear no."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from chalicelib.http import Response
from chalicelib.oci.errors import Referenced, Unavailable
from chalicelib.projects import quotas
from chalicelib.proxycache import blobs
from chalicelib.registry import deletion
from chalicelib.registry.store import blobs as table
from chalicelib.settings import settings
from chalicelib.storage import aws_json, blobstore
from tests.proxycache.pulls.conftest import Proxy
from tests.registry.accounting import assert_exact, charged
from tests.registry.test_budgets import counted
from tests.upstreams.servers.contents import INDEX, LAYER, digest_of
from tests.upstreams.servers.faults import drip, refuse, wrong_bytes
from tests.upstreams.servers.scripted import Scripted

pytestmark = pytest.mark.usefixtures("fill_function")

_REDIRECTS = 9
"""What Go's client follows (net/http, defaultCheckRedirect)."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests wait for a second."""
    monkeypatch.setenv("BERTH_PROXY_WAIT_SECONDS", "1")
    settings.cache_clear()


def follow(proxy: Proxy, path: str, method: str = "GET") -> tuple[Response, int]:
    """The answer that sends a client to S3, or refuses; and how many redirects led there, that one included."""
    query: dict[str, str] = {}
    for redirects in range(1, 20):
        answer = proxy.ask(method, path, **query)
        location = answer.headers.get("Location", "")
        if answer.status not in (301, 307) or location.startswith("http"):
            return answer, redirects
        parts = urlsplit(location)
        path, query = parts.path.removeprefix(f"/v2/{proxy.name}/"), dict(parse_qsl(parts.query))
    raise AssertionError("it never ends")


def test_a_pull_of_a_whole_image(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1", layers=3)
    assert proxy.get("app/manifests/v1").status == 200
    for digest in image.blobs:
        answer, redirects = follow(proxy, f"app/blobs/{digest}")
        assert answer.status == 307
        assert redirects < _REDIRECTS  # one, if the function's first start does not take longer than a request may
        assert answer.headers["Docker-Content-Digest"] == digest
        blob = table.read_record(digest)
        assert blob is not None
        assert blobstore.get(blob.object_key) == upstream.blobs[digest]
    for digest in image.blobs:
        assert upstream.count("GET", f"*{digest}") == 1
    upstream.forget()
    for digest in image.blobs:
        assert proxy.get(f"app/blobs/{digest}").status == 307
    assert upstream.count() == 0


def test_the_fill_starts_with_the_manifest(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1", layers=3)
    assert proxy.get("app/manifests/v1").status == 200
    deadline = time.monotonic() + 30
    while not all(table.read(f"{proxy.name}/app", digest)[1] for digest in image.blobs):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_blob_that_no_manifest_here_names(proxy: Proxy, upstream: Scripted) -> None:
    digest = upstream.put_blob(os.urandom(1000))
    for method in ("HEAD", "GET"):
        answer, _ = follow(proxy, f"app/blobs/{digest}", method)
        assert answer.status == 307


def test_a_digest_that_upstream_has_not_starts_nothing(proxy: Proxy) -> None:
    digest = digest_of(os.urandom(8))
    for method in ("GET", "HEAD"):
        with counted() as calls:
            answer = proxy.ask(method, f"app/blobs/{digest}")
        assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (404, "BLOB_UNKNOWN")
        assert ("states", "StartExecution") not in calls


@pytest.mark.usefixtures("impatient")
def test_a_client_is_sent_to_wait_on_until_it_is_there(proxy: Proxy, upstream: Scripted) -> None:
    digest = upstream.put_blob(os.urandom(30_000))
    upstream.script(f"*{digest}", drip(10_000), method="GET", always=True)
    first = proxy.get(f"app/blobs/{digest}")
    assert (first.status, first.headers["Location"]) == (307, f"/v2/{proxy.name}/app/blobs/{digest}?berth-wait=1")
    answer, redirects = follow(proxy, f"app/blobs/{digest}")
    assert answer.status == 307
    assert 2 <= redirects <= _REDIRECTS
    assert upstream.count("GET", f"*{digest}") == 1


def test_a_store_that_is_out_of_reach_meanwhile_sends_nobody_away(proxy: Proxy, upstream: Scripted) -> None:
    """Who waits looks again: a busy cloud is no answer about a blob."""
    digest = upstream.put_blob(os.urandom(20_000))
    upstream.script(f"*{digest}", drip(10_000), method="GET", always=True)
    looks: list[str] = []

    def fail(params: dict[str, Any], **_: Any) -> None:
        if params["Key"]["pk"]["S"].startswith("fill|"):
            looks.append(digest)
            if 2 <= len(looks) <= 4:
                raise Unavailable("the metadata store is throttled")

    aws_json.events.register("before-call.dynamodb.GetItem", fail)
    try:
        answer, redirects = follow(proxy, f"app/blobs/{digest}")
    finally:
        aws_json.events.unregister("before-call.dynamodb.GetItem", fail)
    assert (answer.status, redirects) == (307, 1)
    assert len(looks) > 4


@pytest.mark.usefixtures("impatient")
def test_a_fill_that_outlasts_all_redirects_is_found_further_on(
    proxy: Proxy, upstream: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "REDIRECTS", 2)
    digest = upstream.put_blob(os.urandom(60_000))
    upstream.script(f"*{digest}", drip(10_000), method="GET", always=True)
    refused, redirects = follow(proxy, f"app/blobs/{digest}")
    assert (refused.status, redirects) == (503, 3)
    assert refused.headers["Retry-After"] == "30"
    assert json.loads(refused.body)["errors"][0]["code"] == "UNAVAILABLE"
    deadline = time.monotonic() + 30
    while (answer := follow(proxy, f"app/blobs/{digest}")[0]).status == 503:
        assert time.monotonic() < deadline
    assert answer.status == 307
    assert upstream.count("GET", f"*{digest}") == 1


@pytest.mark.usefixtures("impatient")
def test_no_client_is_sent_on_more_often_than_go_follows(make_proxy: Callable[..., Proxy], upstream: Scripted) -> None:
    """From a bare name of Docker Hub's, to the last wait, and then to S3."""
    proxy = make_proxy(upstream.url, kind="docker-hub")
    digest = upstream.put_blob(os.urandom(40_000))
    upstream.script(f"*{digest}", drip(1000), method="GET", always=True)
    refused, redirects = follow(proxy, f"app/blobs/{digest}")
    assert refused.status == 503
    # The answer is the refusal: had it been S3's address, it would have been the last redirect.
    assert redirects == _REDIRECTS
    for text in ("7", "8", "-1", "x", "99999"):
        assert proxy.get(f"library/app/blobs/{digest}", **{"berth-wait": text}).status == 503


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [(refuse(404), 404, "BLOB_UNKNOWN"), (wrong_bytes(), 502, "UNAVAILABLE")],
    ids=["gone", "wrong-bytes"],
)
def test_who_waits_is_told_why_it_failed(
    proxy: Proxy, upstream: Scripted, fault: object, status: int, code: str
) -> None:
    image = upstream.put_image("app", "v1")
    upstream.script(f"*{image.layers[0]}", fault, always=True)  # type: ignore[arg-type]
    assert proxy.get("app/manifests/v1").status == 200
    answer, _ = follow(proxy, f"app/blobs/{image.layers[0]}")
    assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (status, code), answer.body
    assert table.read_record(image.layers[0]) is None


def test_a_full_project_says_so(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1", size=100_000)
    quotas.set_limit(proxy.project_id, 50_000)
    assert proxy.get("app/manifests/v1").status == 200
    answer, _ = follow(proxy, f"app/blobs/{image.layers[0]}")
    assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (403, "DENIED")


def test_fifty_clients_that_pull_one_cold_image(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1", layers=3, size=200_000)
    upstream.forget()

    def pull(_: int) -> list[int]:
        manifest = proxy.get("app/manifests/v1")
        assert manifest.body == image.manifest
        return [follow(proxy, f"app/blobs/{digest}")[0].status for digest in image.blobs]

    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(pull, range(50)))
    assert statuses == [[307] * 4] * 50
    for digest in image.blobs:
        assert upstream.sent(f"*{digest}") == len(upstream.blobs[digest])
    assert upstream.count("GET", "*/manifests/*") == 1


def test_what_a_cache_of_buildkits_names_is_fetched_when_it_is_asked_for_and_held(
    proxy: Proxy, upstream: Scripted
) -> None:
    """An index of layers, which are no manifests: a build pulls those that it can use."""
    contents = [os.urandom(2000) for _ in range(3)]
    names = [upstream.put_blob(each) for each in contents]
    entries = [{"mediaType": LAYER, "digest": name, "size": 2000} for name in names]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    digest = upstream.put_manifest("app", index, INDEX, "cache")
    assert proxy.get("app/manifests/cache").status == 200
    assert follow(proxy, f"app/blobs/{names[0]}")[0].status == 307
    assert upstream.count("GET", "*/blobs/*") == 1
    assert_exact(proxy.name)
    repository = f"{proxy.name}/app"
    with pytest.raises(Referenced):
        deletion.blob(repository, names[0])
    deletion.manifest(repository, digest)
    deletion.blob(repository, names[0])
    assert charged(proxy.name) == {}
