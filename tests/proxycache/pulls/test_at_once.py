"""Many clients at once: upstream is asked once for all of them, in one process and across several."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.oci.errors import Unavailable
from chalicelib.proxycache import freshness
from chalicelib.proxycache.store import connections, replies
from chalicelib.settings import settings
from chalicelib.storage import tables
from tests.proxycache.pulls.conftest import Proxy
from tests.proxycache.pulls.crowd import pull_at_once
from tests.upstreams.servers.faults import late, refuse, too_many
from tests.upstreams.servers.scripted import Scripted


@pytest.fixture
def fresh_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a test takes on a machine that is busy."""
    monkeypatch.setenv("BERTH_PROXY_FRESH_SECONDS", "600")
    settings.cache_clear()


@pytest.mark.usefixtures("fresh_for_minutes")
@pytest.mark.parametrize(
    "state", ["cold", *(pytest.param(each, marks=pytest.mark.slow) for each in ("warm", "changed"))]
)
def test_a_thousand_pulls_of_one_tag_ask_a_handful_of_times(proxy: Proxy, upstream: Scripted, state: str) -> None:
    """In four processes, which know nothing of each other, as containers of the function."""
    image = upstream.put_image("app", "v1")
    if state != "cold":
        assert proxy.get("app/manifests/v1").status == 200
        replies_are_old(proxy, "manifest|v1")
    if state == "changed":
        image = upstream.put_image("app", "v1")
    upstream.script("*/manifests/*", late(0.2), always=True)
    upstream.forget()
    counted = pull_at_once(4, 250, f"/v2/{proxy.name}/app/manifests/v1", proxy.authorization)
    assert counted == {f"200 {image.digest.removeprefix('sha256:')}": 1000}
    asked = upstream.asked(path="*/manifests/*")
    assert len([each for each in asked if each.method == "HEAD"]) <= 6  # of a thousand
    assert len([each for each in asked if each.method == "GET"]) == (0 if state == "warm" else 1)


def replies_are_old(proxy: Proxy, question: str) -> None:
    """As if the last reply were of an hour ago."""
    origin = proxy.origin("app")
    asked = replies.read(origin, question)
    tables.ReplyItem(f"{replies.REPLIES_PREFIX}{origin}", question).update(
        actions=[tables.ReplyItem.fresh_until.set(asked.fresh_until - 3_600_000)]
    )
    proxy.later()


@pytest.mark.usefixtures("fresh_for_minutes")
def test_a_failing_upstream_is_asked_once_for_all(proxy: Proxy, upstream: Scripted) -> None:
    upstream.script("*/manifests/*", refuse(503), always=True)
    upstream.forget()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: proxy.get("app/manifests/v1").status, range(200)))
    assert set(answers) == {502}
    assert upstream.count() == 1


@pytest.mark.usefixtures("fresh_for_minutes")
def test_a_reply_is_good_for_seconds_in_every_process(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    upstream.forget()
    for _ in range(3):
        assert proxy.get("app/manifests/v1").status == 200
        proxy.later()
    assert upstream.count("HEAD", "*/manifests/*") == 1
    replies_are_old(proxy, "manifest|v1")
    assert proxy.get("app/manifests/v1").status == 200
    assert upstream.count("HEAD", "*/manifests/*") == 2


def test_who_died_while_asking_is_not_waited_for_longer_than_a_turn(
    proxy: Proxy, upstream: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.put_image("app", "v1")
    origin = proxy.origin("app")
    assert replies.acquire_refresh(origin, "manifest|v1", replies.CachedReply(), 1.0)
    assert proxy.get("app/manifests/v1").status == 200
    assert upstream.count("HEAD", "*/manifests/*") == 1
    assert replies.acquire_refresh(origin, "manifest|v2", replies.CachedReply(), 60.0)
    monkeypatch.setattr(freshness, "_WAIT_SECONDS", 0.5)
    refused = proxy.get("app/manifests/v2")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")


def test_a_reply_of_who_lost_the_turn_is_not_kept(proxy: Proxy) -> None:
    origin = proxy.origin("app")
    slow = replies.acquire_refresh(origin, "manifest|v1", replies.CachedReply(), -1.0)
    fast = replies.acquire_refresh(origin, "manifest|v1", replies.CachedReply(), 10.0)
    assert slow
    assert fast
    assert not replies.acquire_refresh(origin, "manifest|v1", replies.CachedReply(), 10.0)
    for turn, digest in ((fast, "new"), (slow, "old")):
        replies.write(origin, "manifest|v1", turn, {"digest": digest}, 5, 60)
    assert replies.read(origin, "manifest|v1").reply == {"digest": "new"}


def test_a_limit_of_connections_holds_for_all_pulls_of_a_project(
    make_proxy: Callable[..., Proxy], upstream: Scripted
) -> None:
    proxy = make_proxy(upstream.url, max_upstream_conn="2")
    for number in range(8):
        upstream.put_image("app", f"v{number}")
    open_now, most, lock = 0, 0, threading.Lock()

    def watched(request: object, reply: object) -> object:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        threading.Event().wait(0.1)
        with lock:
            open_now -= 1
        return reply

    upstream.script("*/manifests/*", watched, always=True)  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: proxy.get(f"app/manifests/v{number}").status, range(8)))
    assert most == 2
    assert set(answers) <= {200, 429}
    assert answers.count(200) >= 2


def test_too_many_connections_are_answered_by_the_local_copy(
    make_proxy: Callable[..., Proxy], upstream: Scripted
) -> None:
    proxy = make_proxy(upstream.url, max_upstream_conn="1")
    image = upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").status == 200
    assert connections.take(proxy.project_id, 1, 60)
    assert proxy.get("app/manifests/v1").body == image.manifest
    refused = proxy.get("app/manifests/v2")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")


@pytest.mark.usefixtures("fresh_for_minutes")
def test_a_moments_want_of_a_connection_is_nobodys_answer_for_longer(
    make_proxy: Callable[..., Proxy], upstream: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.proxycache.connections._WAIT_SECONDS", 0.1)
    proxy = make_proxy(upstream.url, max_upstream_conn="1")
    image = upstream.put_image("app", "v1")
    place = connections.take(proxy.project_id, 1, 60)
    assert place
    refused = proxy.get("app/manifests/v1")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    connections.leave(proxy.project_id, *place)
    time.sleep(1.1)
    assert proxy.get("app/manifests/v1").body == image.manifest


@pytest.mark.parametrize(("told", "first"), [("3", "20"), ("50", "50")])
def test_a_client_is_told_what_is_left_of_a_limit(
    proxy: Proxy, upstream: Scripted, told: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process or another: it would come back too late otherwise, or too early."""
    monkeypatch.setenv("BERTH_PROXY_FRESH_SECONDS", "20")
    settings.cache_clear()
    upstream.script("*/manifests/*", too_many(told), always=True)
    assert proxy.get("app/manifests/v1").headers["Retry-After"] == first
    time.sleep(1.1)
    for _ in range(2):
        assert 0 < int(proxy.get("app/manifests/v1").headers["Retry-After"]) < int(first)
        proxy.later()


def test_a_place_that_cannot_be_given_back_costs_no_pull(make_proxy: Callable[..., Proxy], upstream: Scripted) -> None:
    """It gets free by itself."""
    proxy = make_proxy(upstream.url, max_upstream_conn="4")
    image = upstream.put_image("app", "v1")
    failed = []

    def fail(params: dict[str, Any], **_: Any) -> None:
        if json.loads(params["body"])["Key"]["pk"]["S"].startswith("connections|"):
            failed.append(params)
            raise Unavailable("the metadata store is throttled")

    events = tables.connection().client.meta.events
    events.register("before-call.dynamodb.DeleteItem", fail)
    try:
        assert proxy.get("app/manifests/v1").body == image.manifest
    finally:
        events.unregister("before-call.dynamodb.DeleteItem", fail)
    assert failed
