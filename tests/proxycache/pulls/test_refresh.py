"""Refreshes: cached tags revalidated in the background, and the changed ones fetched before anybody asks."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from chalicelib.jobs import executions, schedules
from chalicelib.jobs.records import Status
from chalicelib.jobs.store import schedules as schedule_table
from chalicelib.oci.errors import QuotaExceeded
from chalicelib.projects import quotas, rules
from chalicelib.proxycache import refreshing, sources
from chalicelib.proxycache.refreshes import PROXY_REFRESH
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import listings
from chalicelib.registry.store import manifests as table
from chalicelib.registry.store import pulls as pull_table
from chalicelib.storage.conditions import now
from tests.api.support import call
from tests.proxycache.pulls.conftest import Proxy
from tests.upstreams.servers.contents import INDEX, LAYER, MANIFEST, digest_of
from tests.upstreams.servers.faults import refuse, too_many
from tests.upstreams.servers.scripted import Scripted

pytestmark = pytest.mark.usefixtures("administrator", "fill_function", "refresh_function")

_DAY = 86_400_000


@pytest.fixture(scope="session")
def refresh_function(cloud: dict[str, str]) -> None:
    """The deployed function may call upstreams on this machine."""
    client = boto3.client("lambda")
    for function in client.list_functions(MaxItems=50)["Functions"]:
        if function["Handler"] == "app.refresh_proxies":
            variables = {**function["Environment"]["Variables"], "BERTH_OUTBOUND_ALLOWED": "127.0.0.0/8"}
            client.update_function_configuration(
                FunctionName=function["FunctionName"], Environment={"Variables": variables}
            )


def _pulled(proxy: Proxy, tag: str, moment: int = 0) -> None:
    """Somebody has pulled a tag."""
    assert proxy.get(f"app/manifests/{tag}").status == 200
    found = table.read_tag(f"{proxy.name}/app", tag)
    assert found is not None
    pull_table.set_times(f"{proxy.name}/app", found.digest, moment or now(), {tag: moment or now()})


def _tag(proxy: Proxy, tag: str = "v1") -> str:
    found = table.read_tag(f"{proxy.name}/app", tag)
    assert found is not None
    return found.digest


def _refresh(proxy: Proxy, **parameters: Any) -> dict[str, Any]:
    """A refresh that has ended, as the API tells of it."""
    base = f"/projects/{proxy.name}/refreshes"
    body = {"schedule": {"type": "Manual"}, "parameters": parameters}
    started = call("POST", f"{base}/schedule", body)
    assert started.status == 201, started.body
    number = started.headers["Location"].rpartition("/")[2]
    deadline = time.monotonic() + 120
    while True:
        told = dict(json.loads(call("GET", f"{base}/{number}").body))
        if "end_time" in told:
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.2)


def test_changed_tags_are_here_before_anybody_asks(proxy: Proxy, upstream: Scripted) -> None:
    for tag in ("v1", "v2", "v3"):
        upstream.put_image("app", tag)
        _pulled(proxy, tag)
    new = upstream.put_image("app", "v1")
    del upstream.tags["app"]["v3"]
    upstream.forget()
    told = _refresh(proxy, policy="all")
    assert (told["status"], told["result"]) == ("Success", {"tags": 3, "updated": 1, "gone": 1, "failed": 0})
    assert told["parameters"] == {"policy": "all", "days": 0}
    assert upstream.count("HEAD", "*/manifests/*") == 3
    assert _tag(proxy) == new.digest
    assert set(blob_table.read_sizes(f"{proxy.name}/app", new.blobs)) == set(new.blobs)
    upstream.stop()
    assert proxy.get("app/manifests/v1").body == new.manifest
    assert all(proxy.get(f"app/blobs/{digest}").status == 307 for digest in new.blobs)
    log = call("GET", f"/projects/{proxy.name}/refreshes/{told['id']}/log").body.decode()
    outcomes = {line.split(" ", 2)[2].split(" ", 1)[0]: line.split(" ", 3)[3] for line in log.splitlines()}
    assert outcomes == {
        f"{proxy.name}/app:v1": "updated",
        f"{proxy.name}/app:v2": "unchanged",
        f"{proxy.name}/app:v3": "gone upstream",
    }


def test_of_an_index_the_platforms_come_that_were_pulled(proxy: Proxy, upstream: Scripted) -> None:
    amd, arm = upstream.put_image("app"), upstream.put_image("app")
    upstream.put_index("app", "v1", amd, arm)
    _pulled(proxy, "v1")
    proxy.get(f"app/manifests/{amd.digest}")
    amd, arm = upstream.put_image("app"), upstream.put_image("app")
    index = upstream.put_index("app", "v1", amd, arm)
    assert _refresh(proxy)["result"]["updated"] == 1
    repository = f"{proxy.name}/app"
    assert _tag(proxy) == index
    assert table.read_record(repository, amd.digest) is not None
    assert set(blob_table.read_sizes(repository, amd.blobs)) == set(amd.blobs)
    assert table.read_record(repository, arm.digest) is None


def test_what_an_index_names_and_is_no_manifest_is_not_asked_for_as_one(proxy: Proxy, upstream: Scripted) -> None:
    def put() -> str:
        image, blob = upstream.put_image("app"), upstream.put_blob(os.urandom(20))
        entries = [
            {"mediaType": MANIFEST, "digest": image.digest, "size": len(image.manifest)},
            {"mediaType": LAYER, "digest": blob, "size": 20},
        ]
        content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        upstream.put_manifest("app", content, INDEX, "v1")
        return image.digest

    first = put()
    _pulled(proxy, "v1")
    proxy.get(f"app/manifests/{first}")
    second = put()
    assert _refresh(proxy)["result"]["updated"] == 1
    assert table.read_record(f"{proxy.name}/app", second) is not None


def test_what_nobody_pulls_is_left_alone(proxy: Proxy, upstream: Scripted) -> None:
    for tag, days in (("old", 8), ("new", 6)):
        upstream.put_image("app", tag)
        _pulled(proxy, tag, now() - days * _DAY)
    upstream.forget()
    assert _refresh(proxy)["result"]["tags"] == 1
    assert upstream.count("HEAD", "*/manifests/new") == 1
    assert upstream.count("HEAD", "*/manifests/old") == 0
    assert _refresh(proxy, policy="pulled", days=30)["result"]["tags"] == 2


def test_a_pull_of_the_digest_that_a_tag_stands_for_counts(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    proxy.head("app/manifests/v1")
    proxy.get(f"app/manifests/{image.digest}")
    repository = f"{proxy.name}/app"
    assert refreshing.wanted(repository, 7, now()) == []
    pull_table.set_times(repository, image.digest, now(), {})
    assert refreshing.wanted(repository, 7, now()) == ["v1"]


def test_a_pull_of_what_an_index_names_is_one_of_the_index(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app")
    upstream.put_index("app", "v1", image)
    for reference in ("v1", image.digest):
        assert proxy.get(f"app/manifests/{reference}").status == 200
    repository = f"{proxy.name}/app"
    assert refreshing.wanted(repository, 7, now()) == []
    pull_table.set_times(repository, image.digest, now(), {})
    assert refreshing.wanted(repository, 7, now()) == ["v1"]


def test_a_tag_that_was_updated_keeps_the_time_of_its_last_pull(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    moment = now() - 3 * _DAY
    _pulled(proxy, "v1", moment)
    upstream.put_image("app", "v1")
    assert _refresh(proxy)["result"]["updated"] == 1
    [tagged] = listings.tags_of(f"{proxy.name}/app", _tag(proxy))
    assert tagged.pulled == moment


def test_a_project_without_room_keeps_what_it_has(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    _pulled(proxy, "v1")
    quotas.set_limit(proxy.project_id, 20_000)
    new = upstream.put_image("app", "v1", size=30_000)
    told = _refresh(proxy)
    assert (told["status"], told["result"]["failed"]) == ("Error", 1)
    assert _tag(proxy) == image.digest
    assert table.read_record(f"{proxy.name}/app", new.digest) is None
    with pytest.raises(QuotaExceeded):
        refreshing.refresh(sources.of(rules.get(proxy.name), f"{proxy.name}/app"), "v1")


def test_what_is_never_fetched_needs_no_room(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    _pulled(proxy, "v1")
    quotas.set_limit(proxy.project_id, 1 << 20)
    document = json.loads(upstream.put_image("app").manifest)
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    document["layers"].append({"mediaType": foreign, "digest": digest_of(b"windows"), "size": 1 << 30})
    upstream.put_manifest("app", json.dumps(document).encode(), tag="v1")
    assert refreshing.refresh(sources.of(rules.get(proxy.name), f"{proxy.name}/app"), "v1") == refreshing.UPDATED


def test_a_blob_that_does_not_come_leaves_the_tag_where_it_is(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    _pulled(proxy, "v1")
    new = upstream.put_image("app", "v1")
    upstream.script(f"*{new.layers[0]}", refuse(404), always=True)
    told = _refresh(proxy)
    assert (told["status"], told["result"]["failed"]) == ("Error", 1)
    assert _tag(proxy) == image.digest


@pytest.mark.parametrize("meanwhile", ["deleted", "moved"])
def test_a_tag_that_others_change_meanwhile_is_theirs(
    proxy: Proxy, upstream: Scripted, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    upstream.put_image("app", "v1")
    _pulled(proxy, "v1")
    upstream.put_image("app", "v1")
    repository = f"{proxy.name}/app"
    fill = refreshing._fill

    def fill_slowly(*arguments: Any) -> None:
        fill(*arguments)
        if meanwhile == "deleted":
            assert proxy.ask("DELETE", "app/manifests/v1").status == 202
        else:
            upstream.put_image("app", "v1")
            assert proxy.get("app/manifests/v1").status == 200

    monkeypatch.setattr(refreshing, "_fill", fill_slowly)
    assert refreshing.refresh(sources.of(rules.get(proxy.name), repository), "v1") == refreshing.MOVED
    found = table.read_tag(repository, "v1")
    assert found is None if meanwhile == "deleted" else found and found.digest == upstream.tags["app"]["v1"]


def test_an_upstream_that_limits_requests_is_left_alone(proxy: Proxy, upstream: Scripted) -> None:
    for number in range(12):
        upstream.put_image("app", f"v{number}")
        _pulled(proxy, f"v{number}")
    upstream.script("*/manifests/*", too_many("60"), always=True)
    upstream.forget()
    told = _refresh(proxy)
    assert (told["status"], told["result"]["failed"]) == ("Error", 12)
    assert upstream.count(path="*/manifests/*") <= 4  # a worker each


def test_a_schedule_and_its_end(proxy: Proxy) -> None:
    base = f"/projects/{proxy.name}/refreshes"
    assert json.loads(call("GET", f"{base}/schedule").body) == {}
    body = {"schedule": {"type": "Daily"}, "parameters": {"policy": "pulled", "days": 3}}
    assert call("PUT", f"{base}/schedule", body).status == 200
    told = json.loads(call("GET", f"{base}/schedule").body)
    assert (told["schedule"]["type"], told["parameters"]) == ("Daily", {"policy": "pulled", "days": 3})
    assert schedule_table.read(PROXY_REFRESH.vendor_type, proxy.project_id) is not None
    assert call("PUT", f"{base}/schedule", {"schedule": {"type": "None"}}).status == 200
    assert json.loads(call("GET", f"{base}/schedule").body) == {}
    call("PUT", f"{base}/schedule", body)
    assert call("DELETE", f"/projects/{proxy.name}").status == 200
    assert schedules.find(PROXY_REFRESH, proxy.project_id) is None


@pytest.mark.parametrize(
    "body",
    [
        {"schedule": {"type": "Manual"}, "parameters": {"policy": "some"}},
        {"schedule": {"type": "Manual"}, "parameters": {"days": 0}},
        {"schedule": {"type": "Manual"}, "parameters": {"days": True}},
        {"schedule": {"type": "Manual"}, "parameters": {"days": 10_000}},
        {"schedule": {"type": "Custom", "cron": "never"}},
        {"schedule": {"type": "Sometimes"}},
        {},
    ],
)
def test_what_is_no_refresh_is_refused(proxy: Proxy, body: dict[str, Any]) -> None:
    assert call("POST", f"/projects/{proxy.name}/refreshes/schedule", body).status == 400
    assert executions.list_all(PROXY_REFRESH, proxy.project_id) == []


def test_only_proxy_projects_have_refreshes_and_only_their_own(
    make_proxy: Callable[..., Proxy], upstream: Scripted, project: str
) -> None:
    assert call("GET", f"/projects/{project}/refreshes").status == 400
    one, other = make_proxy(upstream.url), make_proxy(upstream.url)
    told = _refresh(one)
    assert (told["status"], told["result"]["tags"]) == (Status.SUCCESS, 0)
    assert [each["id"] for each in json.loads(call("GET", f"/projects/{one.name}/refreshes").body)] == [told["id"]]
    assert json.loads(call("GET", f"/projects/{other.name}/refreshes").body) == []
    for method, path in (("GET", ""), ("PUT", ""), ("GET", "/log")):
        assert call(method, f"/projects/{other.name}/refreshes/{told['id']}{path}").status == 404
        assert call(method, f"/projects/{one.name}/refreshes/{told['id']}{path}").status == 200
