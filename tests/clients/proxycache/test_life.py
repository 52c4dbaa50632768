"""Pulls through Berth from docker-registry: cold, warm, a tag that has moved, upstream down, the image gone there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import layout
from tests.clients.conftest import Run, Server
from tests.clients.proxycache.pulls import PULLS, blobs_of, make_proxy, require_fetched_once, wait_until_stale
from tests.upstreams.servers.certificates import make_certificate
from tests.upstreams.servers.docker import DockerRegistry, docker_registry
from tests.upstreams.servers.tokens import PASSWORD, USER, TokenService, token_service


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("upstream")) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenService]:
    with token_service(make_certificate(tmp_path_factory.mktemp("tokens"))) as running:
        yield running


@pytest.mark.parametrize("client", PULLS)
def test_an_images_life(run: Run, berth: Server, upstream: DockerRegistry, client: str, tmp_path: Path) -> None:
    pull, proxy = PULLS[client], make_proxy(berth, upstream.url)
    there, here = f"{upstream.name}/{client}/app", f"{proxy.name}/{client}/app"
    first, second = layout.small(tmp_path / "1", size=200_000), layout.small(tmp_path / "2", size=200_000)
    run("crane", "push", str(tmp_path / "1"), f"{there}:v1")

    upstream.forget()
    assert pull(run, f"{here}:v1", tmp_path / "cold") == first
    require_fetched_once(upstream, blobs_of(tmp_path / "1", first))
    assert upstream.count("GET", "*/manifests/*") == 1

    upstream.forget()
    assert pull(run, f"{here}:v1", tmp_path / "warm") == first
    assert pull(run, f"{here}@{first}", tmp_path / "digest") == first
    assert upstream.count("GET") == 0
    assert upstream.count("HEAD") <= 2

    run("crane", "push", str(tmp_path / "2"), f"{there}:v1")
    wait_until_stale()
    upstream.forget()
    assert pull(run, f"{here}:v1", tmp_path / "moved") == second
    require_fetched_once(upstream, blobs_of(tmp_path / "2", second))

    upstream.stop()
    wait_until_stale()
    assert pull(run, f"{here}:v1", tmp_path / "down") == second
    assert pull(run, f"{here}@{first}", tmp_path / "down-digest") == first
    upstream.start()

    run("crane", "delete", f"{there}@{second}")
    wait_until_stale()
    assert "unknown" in run("skopeo", "inspect", "--tls-verify=false", f"docker://{here}:v1", fails=True)
    assert pull(run, f"{here}@{second}", tmp_path / "gone") == second


def test_a_copy_of_what_is_gone_is_served_when_the_project_says_so(
    run: Run, berth: Server, upstream: DockerRegistry, image: tuple[Path, str], tmp_path: Path
) -> None:
    proxy = make_proxy(berth, upstream.url, metadata={"proxy_cache_local_on_not_found": "true"})
    run("crane", "push", str(image[0]), f"{upstream.name}/kept:v1")
    assert PULLS["crane"](run, f"{proxy.name}/kept:v1", tmp_path / "cold") == image[1]
    run("crane", "delete", f"{upstream.name}/kept@{image[1]}")
    wait_until_stale()
    assert PULLS["skopeo"](run, f"{proxy.name}/kept:v1", tmp_path / "gone") == image[1]


def test_what_was_never_pulled_cannot_be_while_upstream_is_down(
    run: Run, berth: Server, upstream: DockerRegistry, tmp_path: Path
) -> None:
    proxy = make_proxy(berth, upstream.url)
    upstream.stop()
    try:
        assert "there is no local copy" in run("crane", "manifest", f"{proxy.name}/never:v1", fails=True)
        # It shows no body of a 5xx.
        assert "502" in run("skopeo", "inspect", "--tls-verify=false", f"docker://{proxy.name}/never:v1", fails=True)
    finally:
        upstream.start()


def test_an_index_is_pulled_as_far_as_it_is_needed(
    run: Run, berth: Server, upstream: DockerRegistry, tmp_path: Path
) -> None:
    proxy = make_proxy(berth, upstream.url)
    there, here = f"{upstream.name}/multi", f"{proxy.name}/multi"
    digests = {}
    for architecture in ("amd64", "arm64"):
        digests[architecture] = layout.small(tmp_path / architecture, architecture=architecture)
        run("crane", "push", str(tmp_path / architecture), f"{there}:{architecture}")
    members = [word for digest in digests.values() for word in ("-m", f"{there}@{digest}")]
    run("crane", "index", "append", *members, "-t", f"{there}:all")
    upstream.forget()
    run("crane", "pull", "--platform", "linux/amd64", f"{here}:all", str(tmp_path / "image.tar"))
    assert upstream.count("GET", f"*/manifests/{digests['arm64']}") == 0
    require_fetched_once(upstream, blobs_of(tmp_path / "amd64", digests["amd64"]))
    run("skopeo", "copy", "--all", "--src-tls-verify=false", f"docker://{here}:all", f"oci:{tmp_path / 'all'}:latest")
    for architecture, digest in digests.items():
        assert layout.content(tmp_path / "all", digest) == layout.content(tmp_path / architecture, digest)
        require_fetched_once(upstream, blobs_of(tmp_path / architecture, digest))


def test_tags_are_listed_and_nothing_is_pushed(
    run: Run, berth: Server, upstream: DockerRegistry, image: tuple[Path, str]
) -> None:
    proxy = make_proxy(berth, upstream.url)
    for tag in ("b", "a"):
        run("crane", "push", str(image[0]), f"{upstream.name}/listed:{tag}")
    assert set(run("crane", "ls", f"{proxy.name}/listed").split()) == {"a", "b"}
    for client, push in {
        "crane": ("push", str(image[0]), f"{proxy.name}/listed:c"),
        "skopeo": ("copy", "--dest-tls-verify=false", f"oci:{image[0]}:latest", f"docker://{proxy.name}/listed:c"),
    }.items():
        assert "proxy" in run(client, *push, fails=True)


def test_credentials_of_the_upstream_and_none(
    run: Run, berth: Server, tokens: TokenService, image: tuple[Path, str], tmp_path: Path
) -> None:
    """With a token service in front; then its account changes, and what is here is served all the same."""
    with docker_registry(tmp_path / "registry", tokens) as upstream:
        there = f"docker://{upstream.name}/app:v1"
        credentials = ("--dest-creds", f"{USER}:{PASSWORD}")
        run("skopeo", "copy", "--dest-tls-verify=false", *credentials, f"oci:{image[0]}:latest", there)
        anonymous = make_proxy(berth, upstream.url)
        assert PULLS["crane"](run, f"{anonymous.name}/app:v1", tmp_path / "anonymous") == image[1]
        tokens.anonymous = False
        private, stranger = (make_proxy(berth, upstream.url, credential=(USER, PASSWORD)) for _ in range(2))
        assert PULLS["skopeo"](run, f"{private.name}/app:v1", tmp_path / "private") == image[1]
        tokens.accounts[USER] = "another password"
        run("crane", "manifest", f"{stranger.name}/app:v1", fails=True)
        assert PULLS["skopeo"](run, f"{private.name}/app:v1", tmp_path / "later") == image[1]
