"""Berth's client of upstream registries against Debian's docker-registry, with a token service in front and without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib import outbound
from chalicelib.settings import settings
from chalicelib.upstreams.authorization import Credential
from chalicelib.upstreams.client import Upstream
from chalicelib.upstreams.errors import UpstreamNotFound, UpstreamUnauthorized, UpstreamUnreachable
from tests.clients import layout
from tests.clients.conftest import Run
from tests.upstreams.endpoints import endpoint
from tests.upstreams.servers.certificates import make_certificate
from tests.upstreams.servers.contents import digest_of
from tests.upstreams.servers.docker import docker_registry
from tests.upstreams.servers.tokens import PASSWORD, USER, token_service


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    allowed = replace(settings(), outbound_allowed=("127.0.0.0/8",))
    outbound.pool.cache_clear()
    monkeypatch.setattr(outbound, "settings", lambda: allowed)
    yield
    outbound.pool.cache_clear()


def content(it: Upstream, digest: str, start: int = 0, end: int | None = None) -> tuple[int, bytes]:
    body = it.open_blob("app", digest, start, end)
    try:
        return body.status, b"".join(body)
    finally:
        body.close()


def test_an_image_is_pulled_whole_and_in_parts(run: Run, image: tuple[Path, str], tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as peer:
        run("crane", "push", str(image[0]), f"{peer.name}/app:1")
        it = Upstream(endpoint(peer.url))
        it.ping()
        described = it.head_manifest("app", "1")
        media_type, manifest, digest = it.get_manifest("app", "1")
        assert (described.digest, described.media_type, described.size) == (digest, media_type, len(manifest))
        assert digest == digest_of(manifest)
        assert it.list_tags("app").tags == ["1"]
        layer = json.loads(manifest)["layers"][0]
        assert it.head_blob("app", layer["digest"]) == layer["size"]
        status, whole = content(it, layer["digest"])
        assert (status, digest_of(whole)) == (200, layer["digest"])
        middle = layer["size"] // 2
        first, second = content(it, layer["digest"], 0, middle), content(it, layer["digest"], middle)
        assert (first[0], second[0], first[1] + second[1]) == (206, 206, whole)
        with pytest.raises(UpstreamNotFound):
            it.get_manifest("app", "2")
        with pytest.raises(UpstreamNotFound):
            it.open_blob("app", digest_of(b"absent"))
        assert it.list_referrers("app", digest) is None, "this version knows no referrers"
        peer.stop()
        with pytest.raises(UpstreamUnreachable):
            it.head_manifest("app", "1")
        peer.start()
        assert it.head_manifest("app", "1") == described


def test_a_token_service_in_front(run: Run, image: tuple[Path, str], tmp_path: Path) -> None:
    with (
        token_service(make_certificate(tmp_path)) as tokens,
        docker_registry(tmp_path / "registry", tokens) as peer,
    ):
        source, target = f"oci:{image[0]}:latest", f"docker://{peer.name}/app:1"
        run("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", f"{USER}:{PASSWORD}", source, target)
        record = endpoint(peer.url, access_key=USER)
        assert Upstream(endpoint(peer.url)).head_manifest("app", "1").digest, "anybody may pull"
        tokens.anonymous = False
        Upstream(endpoint(peer.url)).ping()
        with pytest.raises(UpstreamUnauthorized):
            Upstream(endpoint(peer.url)).head_manifest("app", "1")
        it = Upstream(record, Credential(USER, PASSWORD))
        it.ping()
        peer.forget()
        tokens.forget()
        _, manifest, _ = it.get_manifest("app", "1")
        for layer in json.loads(manifest)["layers"]:
            assert digest_of(content(it, layer["digest"])[1]) == layer["digest"]
        assert len(tokens.asked()) == 1, "one token for all of a repository"
        assert peer.count() == 1 + len(json.loads(manifest)["layers"]), "no request is refused first"
        with pytest.raises(UpstreamUnauthorized):
            Upstream(record, Credential(USER, "wrong")).ping()


def test_the_layout_is_what_was_pushed(run: Run, image: tuple[Path, str], tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as peer:
        run("crane", "push", str(image[0]), f"{peer.name}/app:1")
        assert Upstream(endpoint(peer.url)).get_manifest("app", "1")[1] == layout.content(image[0], image[1])
