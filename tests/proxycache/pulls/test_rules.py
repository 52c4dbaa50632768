"""What a proxy project lets clients do: who may pull, which repositories, by which names; and no pushes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from chalicelib.access import tokens
from chalicelib.access.authentication import Caller
from chalicelib.http import Request, Response
from chalicelib.proxycache import filters
from chalicelib.registry import pulls
from chalicelib.registry.store import repositories
from chalicelib.v2.routes import handle
from tests.api.support import call
from tests.conftest import ADMIN
from tests.proxycache.pulls.conftest import Proxy
from tests.registry.images import push_image
from tests.upstreams.servers.scripted import Scripted


def _pushed(proxy: Proxy, method: str, path: str, body: bytes = b"", **query: str) -> Response:
    token = tokens.issue(Caller(ADMIN, is_admin=True), [f"repository:{proxy.name}/app:pull,push"]).text
    headers = {"authorization": f"Bearer {token}", "content-type": "application/vnd.oci.image.manifest.v1+json"}
    return handle(Request(method, f"/v2/{proxy.name}/app/{path}", query, headers, body, "http://localhost"))


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("PUT", "manifests/v1", {}),
        ("POST", "blobs/uploads/", {}),
        ("POST", "blobs/uploads/", {"mount": "sha256:" + "0" * 64, "from": "other/app"}),
    ],
)
def test_pushes_are_refused(proxy: Proxy, upstream: Scripted, method: str, path: str, query: dict[str, str]) -> None:
    image = upstream.put_image("app")
    refused = _pushed(proxy, method, path, image.manifest, **query)
    assert refused.status == 403
    [error] = json.loads(refused.body)["errors"]
    assert error["code"] == "DENIED"
    assert error["message"] == f"can not push artifact to a proxy project: {proxy.name}"


def test_nobody_pulls_from_a_private_proxy_without_logging_in(
    make_proxy: Callable[..., Proxy], upstream: Scripted
) -> None:
    image = upstream.put_image("app", "v1")
    for public in (False, True):
        proxy = make_proxy(upstream.url, public=public)
        path = f"/v2/{proxy.name}/app/manifests/v1"
        answer = handle(Request("GET", path, {}, {}, b"", "http://localhost"))
        assert answer.status == (200 if public else 401)
        assert (answer.body == image.manifest) is public


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [("team/**", ["team/app"]), ("{app,other}", ["app", "other"]), ("", ["app", "team/app", "other"])],
)
def test_a_filter_keeps_repositories_out(
    make_proxy: Callable[..., Proxy], upstream: Scripted, pattern: str, allowed: list[str]
) -> None:
    for repository in ("app", "team/app", "other"):
        image = upstream.put_image(repository, "v1", layers=[b"the same layer"])
    proxy = make_proxy(upstream.url, proxy_cache_filter_pattern=pattern)
    for repository in ("app", "team/app", "other"):
        upstream.forget()
        answers = [proxy.get(f"{repository}/manifests/v1"), proxy.get(f"{repository}/tags/list")]
        if repository in allowed:
            assert [answer.status for answer in answers] == [200, 200]
            continue
        answers.append(proxy.get(f"{repository}/blobs/{image.layers[0]}"))
        assert [answer.status for answer in answers] == [404, 404, 404]
        assert upstream.count(path=f"/v2/{repository}/*") == 0


def test_a_filter_may_be_a_regular_expression(make_proxy: Callable[..., Proxy], upstream: Scripted) -> None:
    expression = {"proxy_cache_filter_pattern": "app|oth.*", "proxy_cache_filter_kind": "regex"}
    proxy = make_proxy(upstream.url, **expression)
    for repository in ("app", "team/app", "other"):
        upstream.put_image(repository, "v1")
    assert [proxy.get(f"{each}/manifests/v1").status for each in ("app", "team/app", "other")] == [200, 404, 200]


def test_a_bare_name_of_docker_hub_is_sent_to_its_library(make_proxy: Callable[..., Proxy], upstream: Scripted) -> None:
    image = upstream.put_image("library/app", "v1")
    proxy = make_proxy(upstream.url, kind="docker-hub")
    for path in ("manifests/v1", f"manifests/{image.digest}", f"blobs/{image.layers[0]}", "tags/list"):
        answer = proxy.get(f"app/{path}")
        assert (answer.status, answer.headers["Location"]) == (301, f"/v2/{proxy.name}/library/app/{path}")
    assert proxy.get("library/app/manifests/v1").body == image.manifest


@pytest.mark.parametrize(("pattern", "status"), [("library/**", 301), ("library/app", 301), ("other/**", 404)])
def test_a_filter_is_of_the_librarys_names(
    make_proxy: Callable[..., Proxy], upstream: Scripted, pattern: str, status: int
) -> None:
    image = upstream.put_image("library/app", "v1")
    proxy = make_proxy(upstream.url, kind="docker-hub", proxy_cache_filter_pattern=pattern)
    assert proxy.get("app/manifests/v1").status == status
    found = proxy.get("library/app/manifests/v1")
    assert (found.status == 200, found.body == image.manifest) == ((status == 301), (status == 301))


def test_a_token_for_the_bare_name_is_good_for_the_library(
    make_proxy: Callable[..., Proxy], upstream: Scripted
) -> None:
    """Clients send the token that they got for the name which they were given, and follow."""
    image = upstream.put_image("library/app", "v1")
    proxy = make_proxy(upstream.url, kind="docker-hub")
    token = tokens.issue(Caller(ADMIN, is_admin=True), [f"repository:{proxy.name}/app:pull"]).text
    other = tokens.issue(Caller(ADMIN, is_admin=True), [f"repository:{proxy.name}/other:pull"]).text
    path = f"/v2/{proxy.name}/library/app/manifests/v1"
    for text, status in ((token, 200), (other, 401)):
        answer = handle(Request("GET", path, {}, {"authorization": f"Bearer {text}"}, b"", "http://localhost"))
        assert answer.status == status
        assert (answer.body == image.manifest) is (status == 200)


def test_policies_look_at_what_was_fetched(make_proxy: Callable[..., Proxy], upstream: Scripted) -> None:
    proxy = make_proxy(upstream.url, enable_content_trust_cosign="true")
    image = upstream.put_image("app", "v1")
    signature = upstream.put_image(
        "app",
        subject={"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)},
        artifactType="application/vnd.dev.cosign.artifact.sig.v1+json",
    )
    refused = proxy.get("app/manifests/v1")
    assert (refused.status, json.loads(refused.body)["errors"][0]["code"]) == (412, "PROJECTPOLICYVIOLATION")
    assert proxy.get(f"app/manifests/{signature.digest}").body == signature.manifest
    assert proxy.get("app/manifests/v1").body == image.manifest


def test_pulls_are_counted_and_logged(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    for _ in range(3):
        assert proxy.get("app/manifests/v1").status == 200
    assert proxy.head("app/manifests/v1").status == 200
    pulls.counts.flush()
    pulls.log.flush()
    [found] = repositories.read_each([f"{proxy.name}/app"]).values()
    assert found.pulls == 3


@pytest.mark.usefixtures("administrator")
def test_nothing_is_copied_into_a_proxy_project(proxy: Proxy, repository: str) -> None:
    push_image(repository, "v1")
    path = f"/projects/{proxy.name}/repositories/app/artifacts"
    assert call("POST", f"{path}?from={repository}:v1").status == 405


@pytest.mark.usefixtures("administrator")
def test_a_local_tag_can_be_given_to_what_is_not_whole_yet(proxy: Proxy, upstream: Scripted) -> None:
    image = upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").status == 200
    path = f"/projects/{proxy.name}/repositories/app/artifacts/{image.digest}/tags"
    assert call("POST", path, {"name": "ours"}).status == 201


_SETTINGS = [
    ({"proxy_cache_filter_pattern": "team/**"}, 200),
    ({"proxy_cache_filter_pattern": "{team"}, 400),
    ({"proxy_cache_filter_kind": "glob"}, 400),
    ({"proxy_cache_filter_pattern": "^team/.*$", "proxy_cache_filter_kind": "regex"}, 200),
    ({"proxy_cache_filter_pattern": "team)|(other", "proxy_cache_filter_kind": "regex"}, 400),
    ({"proxy_cache_filter_pattern": "x" * 1025, "proxy_cache_filter_kind": "regex"}, 400),
    ({"proxy_cache_filter_pattern": 7}, 400),
]


@pytest.mark.usefixtures("administrator")
@pytest.mark.parametrize(("metadata", "status"), _SETTINGS)
def test_a_filter_is_checked_when_it_is_set(proxy: Proxy, metadata: dict[str, str], status: int) -> None:
    assert call("PUT", f"/projects/{proxy.name}", {"metadata": metadata}).status == status


@pytest.mark.usefixtures("administrator")
def test_one_setting_of_a_filter_has_to_fit_the_other(proxy: Proxy, project: str) -> None:
    base = f"/projects/{proxy.name}/metadatas/"
    assert call("POST", base, {"proxy_cache_filter_pattern": "*"}).status == 200
    assert call("POST", base, {"proxy_cache_filter_kind": "regex"}).status == 400
    assert call("POST", base, {"proxy_cache_filter_kind": "doublestar"}).status == 200
    path = f"{base}proxy_cache_filter_pattern"
    assert call("PUT", path, {"proxy_cache_filter_pattern": "{"}).status == 400
    assert call("PUT", path, {"proxy_cache_filter_pattern": "team/*"}).status == 200
    other = f"/projects/{project}/metadatas/"
    assert call("POST", other, {"proxy_cache_filter_pattern": "*"}).status == 400  # it proxies nothing


def test_an_expression_costs_no_more_than_its_length(make_proxy: Callable[..., Proxy], upstream: Scripted) -> None:
    """Python's own would take longer than the universe has been there."""
    proxy = make_proxy(upstream.url, proxy_cache_filter_pattern="(a*)*b", proxy_cache_filter_kind="regex")
    started = time.monotonic()
    assert proxy.get("app/manifests/v1").status == 404
    assert filters.matches("(a*)*b", "regex", "a" * 200) is False
    assert time.monotonic() - started < 60
