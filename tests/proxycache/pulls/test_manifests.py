"""A manifest by tag and by digest, while upstream answers, changes, refuses, limits and is gone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib import outbound
from chalicelib.oci import digests
from chalicelib.oci.names import project_of
from chalicelib.project_deletion import delete as delete_project
from chalicelib.projects import immutability, quotas, rules
from chalicelib.projects.store import usage
from chalicelib.registry import listings, references
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store import repositories
from chalicelib.settings import settings
from tests.proxycache.pulls.conftest import Proxy
from tests.upstreams.servers.faults import Fault, hang_up, late, redirect, refuse, too_many, without, wrong_bytes
from tests.upstreams.servers.scripted import Scripted

UNREACHABLE = [
    pytest.param(refuse(500), id="500"),
    pytest.param(refuse(503), id="503"),
    pytest.param(hang_up(), id="hang-up"),
    pytest.param(refuse(401, "UNAUTHORIZED"), id="401"),
    pytest.param(refuse(403, "DENIED"), id="403"),
    pytest.param(redirect("{path}"), id="redirect-loop"),
]


def error_of(answer: Any) -> dict[str, Any]:
    [error] = json.loads(answer.body)["errors"]
    return dict(error)


def test_a_manifest_is_fetched_once_and_then_served(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    upstream.forget()
    first = proxy.get("app/manifests/v1")
    assert (first.status, first.body) == (200, image.manifest)
    assert first.headers["Docker-Content-Digest"] == image.digest
    assert first.headers["Content-Type"] == image.media_type
    assert proxy.get("app/manifests/v1").body == image.manifest
    assert upstream.count("GET", "*/manifests/*") == 1
    assert upstream.count("HEAD", "*/manifests/v1") == 2


def test_a_digest_that_is_here_is_served_without_asking(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    assert proxy.get(f"app/manifests/{image.digest}").body == image.manifest
    upstream.forget()
    for method in ("GET", "HEAD"):
        assert proxy.ask(method, f"app/manifests/{image.digest}").body == image.manifest
    assert upstream.count(path="*/manifests/*") == 0


def test_a_tag_that_has_changed_is_fetched_anew(proxy: Proxy, upstream: Scripted) -> None:
    old = upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").body == old.manifest
    new = upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").body == new.manifest
    assert manifest_table.tags_of(f"{proxy.name}/app", new.digest) == ["v1"]
    assert proxy.get(f"app/manifests/{old.digest}").body == old.manifest  # the old one is still to be had


def test_a_fetch_that_took_long_does_not_move_a_tag_back(proxy: Proxy, upstream: Scripted) -> None:
    old = upstream.put_image("app", "v1")
    upstream.script(f"*/manifests/{old.digest}", late(3.0), method="GET")
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(proxy.get, "app/manifests/v1")
        while not upstream.count("GET", "*/manifests/*"):
            time.sleep(0.01)
        new = upstream.put_image("app", "v1")
        assert proxy.get("app/manifests/v1").body == new.manifest
        assert not slow.done()
        assert slow.result().body == old.manifest  # what the tag stood for when it was asked for
    assert manifest_table.tags_of(f"{proxy.name}/app", new.digest) == ["v1"]
    assert manifest_table.tags_of(f"{proxy.name}/app", old.digest) == []


def test_a_tag_that_has_gone_back_costs_no_second_fetch(proxy: Proxy, upstream: Scripted) -> None:
    old = upstream.put_image("app", "v1")
    proxy.get("app/manifests/v1")
    upstream.put_image("app", "v1")
    proxy.get("app/manifests/v1")
    upstream.tags["app"]["v1"] = old.digest
    upstream.forget()
    assert proxy.get("app/manifests/v1").body == old.manifest
    assert upstream.count("GET", "*/manifests/*") == 0  # blobs may still be filled
    assert manifest_table.tags_of(f"{proxy.name}/app", old.digest) == ["v1"]


def test_an_upstream_that_tells_no_digest(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    upstream.script("*/manifests/*", without("Docker-Content-Digest"), always=True)
    for _ in range(2):
        assert proxy.get("app/manifests/v1").body == image.manifest


def test_what_is_gone_upstream_is_gone(proxy: Proxy, upstream: Scripted) -> None:
    assert error_of(proxy.get("app/manifests/v1"))["code"] == "MANIFEST_UNKNOWN"
    image = upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").status == 200
    del upstream.tags["app"]["v1"]
    for method in ("GET", "HEAD"):
        answer = proxy.ask(method, "app/manifests/v1")
        assert (answer.status, error_of(answer)["code"]) == (404, "MANIFEST_UNKNOWN")
    upstream.tags["app"]["v1"] = image.digest
    assert proxy.get("app/manifests/v1").status == 200


def test_what_is_gone_upstream_is_kept_where_the_project_says_so(
    make_proxy: Callable[..., Proxy], upstream: Scripted
) -> None:
    proxy = make_proxy(upstream.url, proxy_cache_local_on_not_found="true")
    image = upstream.put_image("app", "v1")
    proxy.get("app/manifests/v1")
    upstream.tags.clear()
    upstream.manifests.clear()
    for method in ("GET", "HEAD"):
        assert proxy.ask(method, "app/manifests/v1").body == image.manifest
    assert proxy.get("app/manifests/v2").status == 404


def test_a_limit_of_requests_is_answered_by_the_local_copy_or_by_429(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    proxy.get("app/manifests/v1")
    upstream.script("*/manifests/*", too_many("7"), always=True)
    for method in ("GET", "HEAD"):
        assert proxy.ask(method, "app/manifests/v1").body == image.manifest
        refused = proxy.ask(method, "app/manifests/v2")
        assert (refused.status, error_of(refused)["code"]) == (429, "TOOMANYREQUESTS")
        assert refused.headers["Retry-After"] == "7"


def test_while_upstream_limits_requests_it_is_not_asked(proxy: Proxy, upstream: Scripted) -> None:
    upstream.script("*/manifests/*", too_many("20"), always=True)
    upstream.forget()
    for _ in range(3):
        assert proxy.get("app/manifests/v1").status == 429
        proxy.later()
    assert upstream.count() == 1


@pytest.mark.parametrize("fault", [too_many(), refuse(500)])
def test_the_local_copy_is_served_when_upstream_tells_of_a_change_and_does_not_send_it(
    proxy: Proxy, upstream: Scripted, fault: Fault
) -> None:
    image = upstream.put_image("app", "v1")
    proxy.get("app/manifests/v1")
    upstream.put_image("app", "v1")
    upstream.script("*/manifests/*", fault, method="GET", always=True)
    assert proxy.get("app/manifests/v1").body == image.manifest


@pytest.mark.parametrize("fault", UNREACHABLE)
def test_the_local_copy_is_served_while_upstream_fails(proxy: Proxy, upstream: Scripted, fault: Fault) -> None:
    image = upstream.put_image("app", "v1")
    proxy.get("app/manifests/v1")
    other = upstream.put_image("app", "v2")
    upstream.script("*/manifests/*", fault, always=True)
    for method in ("GET", "HEAD"):
        assert proxy.ask(method, "app/manifests/v1").body == image.manifest
    for reference in ("v2", other.digest):
        refused = proxy.get(f"app/manifests/{reference}")
        assert (refused.status, error_of(refused)["code"]) in ((502, "UNAVAILABLE"), (404, "MANIFEST_UNKNOWN"))
        assert "no local copy" in error_of(refused)["message"] or "hidden" in error_of(refused)["message"]
    upstream.heal()
    assert proxy.get("app/manifests/v2").body == other.manifest


def test_the_local_copy_is_served_when_upstream_is_not_there(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    proxy.get("app/manifests/v1")
    upstream.stop()
    outbound.pool.cache_clear()  # its open connections would be served still
    assert proxy.get("app/manifests/v1").body == image.manifest
    assert proxy.get("app/manifests/v2").status == 502


def test_a_slow_answer_is_waited_for(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    upstream.script("*/manifests/*", late(1.5), always=True)
    assert proxy.get("app/manifests/v1").body == image.manifest


def test_wrong_bytes_are_neither_served_nor_kept(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    upstream.script("*/manifests/*", wrong_bytes(at=5), method="GET")
    refused = proxy.get("app/manifests/v1")
    assert refused.status == 502
    assert image.digest in error_of(refused)["message"]
    assert not repositories.exists(f"{proxy.name}/app")
    assert proxy.get("app/manifests/v1").body == image.manifest


def test_what_is_no_manifest_is_not_kept(proxy: Proxy, upstream: Scripted) -> None:
    digest = upstream.put_manifest("app", b'{"schemaVersion": 1}', tag="old")
    refused = proxy.get("app/manifests/old")
    assert refused.status == 502
    assert digest in error_of(refused)["message"]


def test_a_head_tells_what_upstream_has_and_fetches_nothing(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    for reference in ("v1", image.digest):
        answer = proxy.head(f"app/manifests/{reference}")
        assert answer.status == 200
        assert answer.headers["Docker-Content-Digest"] == image.digest
        assert answer.headers["Content-Type"] == image.media_type
        assert len(answer.body) == len(image.manifest)  # the gateway tells its length
    assert upstream.count("GET", "*/manifests/*") == 0
    assert not repositories.exists(f"{proxy.name}/app")


def test_the_digest_that_a_head_told_gets_its_tag_when_it_is_pulled(proxy: Proxy, upstream: Scripted) -> None:
    """As docker and containerd pull: HEAD of the tag, GET of the digest."""
    image = upstream.put_image("app", "v1")
    upstream.tags["app"]["other"] = image.digest
    for tag in ("v1", "other"):
        assert proxy.head(f"app/manifests/{tag}").headers["Docker-Content-Digest"] == image.digest
    assert proxy.get(f"app/manifests/{image.digest}").body == image.manifest
    assert manifest_table.tags_of(f"{proxy.name}/app", image.digest) == ["other", "v1"]


def test_a_tag_that_moved_before_its_digest_was_pulled_does_not_get_it(proxy: Proxy, upstream: Scripted) -> None:
    old = upstream.put_image("app", "v1")
    proxy.head("app/manifests/v1")
    upstream.put_image("app", "v1")
    proxy.head("app/manifests/v1")
    assert proxy.get(f"app/manifests/{old.digest}").body == old.manifest
    assert manifest_table.tags_of(f"{proxy.name}/app", old.digest) == []


def test_an_index_comes_without_its_children_which_come_as_they_are_pulled(proxy: Proxy, upstream: Scripted) -> None:
    amd, arm = upstream.put_image("app"), upstream.put_image("app")
    index = upstream.put_index("app", "v1", amd, arm)
    assert proxy.get("app/manifests/v1").headers["Docker-Content-Digest"] == index
    assert upstream.count("GET", "*/manifests/*") == 1
    assert proxy.get(f"app/manifests/{arm.digest}").body == arm.manifest
    repository = f"{proxy.name}/app"
    assert manifest_table.read_record(repository, amd.digest) is None
    for digest in (amd.digest, arm.digest):
        assert references.is_held(blob_table.edges_onto(blob_table.manifest_target(repository, digest)))
    assert proxy.ask("DELETE", f"app/manifests/{arm.digest}").status == 412  # the index names it


def test_a_manifest_holds_blobs_that_are_not_here_yet_and_is_charged_alone(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    upstream.script("*/blobs/*", refuse(503), always=True)
    proxy.get("app/manifests/v1")
    for blob in image.blobs:
        assert references.is_held(blob_table.edges_onto(blob, f"{proxy.name}/app"))
    charged = usage.read_charges(proxy.project_id, (image.digest, *image.blobs))
    assert {digest: charge.size for digest, charge in charged.items()} == {image.digest: len(image.manifest)}


def test_what_was_deleted_is_fetched_again(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    for reference in (image.digest, "v1"):
        proxy.get("app/manifests/v1")
        assert proxy.ask("DELETE", f"app/manifests/{reference}").status == 202
        assert proxy.get("app/manifests/v1").body == image.manifest
    assert listings.tags(f"{proxy.name}/app", "", 10).entries == ["v1"]
    assert proxy.ask("DELETE", f"app/manifests/{image.digest}").status == 202
    # The function that fetches its blobs charges for what it has in hand, looks again, and takes that back.
    deadline = time.monotonic() + 30
    while usage.read_charges(proxy.project_id, (image.digest, *image.blobs)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("by_tag", [True, False])
def test_a_full_project_says_so_and_asks_upstream_no_more_than_once(
    proxy: Proxy, upstream: Scripted, by_tag: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_PROXY_FRESH_SECONDS", "60")
    settings.cache_clear()
    image = upstream.put_image("app", "v1")
    quotas.set_limit(proxy.project_id, 100)
    for _ in range(3):
        refused = proxy.get(f"app/manifests/{'v1' if by_tag else image.digest}")
        assert (refused.status, error_of(refused)["code"]) == (403, "DENIED")
        assert "exceed the configured upper limit" in error_of(refused)["message"]
    assert upstream.count("GET", "*/manifests/*") == 1


def test_a_full_project_serves_no_older_image_in_the_place_of_the_new_one(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").status == 200
    upstream.put_image("app", "v1")
    quotas.set_limit(proxy.project_id, 100)
    assert proxy.get("app/manifests/v1").status == 403


def test_a_tag_that_a_rule_keeps_stays_as_it_is(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    proxy.get("app/manifests/v1")
    selector = {"kind": "doublestar", "decoration": "matches", "pattern": "**"}
    scope = {"repository": [{**selector, "decoration": "repoMatches"}]}
    immutability.create(rules.get(proxy.name), {"tag_selectors": [selector], "scope_selectors": scope})
    upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").body == image.manifest
    assert proxy.head("app/manifests/v1").headers["Docker-Content-Digest"] == image.digest
    new = upstream.put_image("app", "v2")
    assert proxy.get("app/manifests/v2").body == new.manifest


def test_a_project_that_is_deleted_meanwhile(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    project = rules.get(proxy.name)
    delete_project(project)
    rules._found.put(proxy.name, project, 30)  # a process that has not heard of it
    assert proxy.get("app/manifests/v1").status == 404
    assert not repositories.exists(f"{proxy.name}/app")


def test_a_repository_that_upstream_has_under_folders(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("team/app", "v1")
    assert proxy.get("team/app/manifests/v1").body == image.manifest
    assert project_of(f"{proxy.name}/team/app") == proxy.name


def test_a_tag_that_stands_for_a_sha512_upstream_does_so_here(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app")
    digest = digests.of(image.manifest, "sha512")
    upstream.manifests["app"] = {digest: (image.media_type, image.manifest)}
    upstream.tags["app"] = {"v1": digest}
    for _ in ("fetched", "here"):
        answer = proxy.get("app/manifests/v1")
        assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, digest)
    tag = manifest_table.read_tag(f"{proxy.name}/app", "v1")
    assert tag is not None
    assert tag.digest == digest
