"""What stock clients get from an upstream registry that goes wrong: the whole image all the same, or a clear no and
nothing kept of it; and the whole image once upstream has recovered."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients import layout
from tests.clients.conftest import Run, Server
from tests.clients.proxycache.pulls import PULLS, Proxy, make_proxy, wait_until_stale
from tests.upstreams.servers import faults
from tests.upstreams.servers.contents import Image
from tests.upstreams.servers.faults import Fault
from tests.upstreams.servers.scripted import Scripted, scripted

PATIENCE = 120
"""Seconds in which Berth is to try anew what it has left alone: it waits longer after each failure."""

PASSING: dict[str, tuple[Fault, ...]] = {
    "5xx in the middle of the body": (faults.together(faults.chunked(), faults.cut(150_000)), faults.refuse(503)),
    "cut connections": (faults.cut(100_000), faults.hang_up(), faults.cut(1)),
    "429 for a second": (faults.too_many("1"),),
    "no answer for a while": (faults.refuse(500), faults.refuse(502), faults.late(3)),
    "no ranges": (faults.ignores_ranges(),),
}
"""What Berth gets over by itself."""

LASTING: dict[str, Fault] = {
    "wrong bytes": faults.wrong_bytes(at=70_000),
    "as many bytes, none of them right": faults.pretends(),
    "a length that is too long": faults.says_length(500_000),
    "a length that is too short": faults.says_length(1000),
    "a redirect loop": faults.redirect("{path}"),
    "a redirect to nowhere": faults.redirect("http://127.0.0.1:1{path}"),
    "a redirect to the metadata service": faults.redirect("http://169.254.169.254{path}"),
    "another part": faults.says_range("bytes 0-9/10"),
    "403": faults.refuse(403, "DENIED"),
    "the blob is gone": faults.refuse(404, "BLOB_UNKNOWN"),
}
"""What it does not get over, as long as it lasts."""


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture
def image(upstream: Scripted) -> Image:
    return upstream.put_image("app", "v1", layers=[layout.file_layer("data", os.urandom(300_000))])


@pytest.mark.parametrize("name", PASSING)
@pytest.mark.parametrize("client", PULLS)
def test_what_passes_is_not_noticed(
    run: Run, berth: Server, upstream: Scripted, image: Image, client: str, name: str, tmp_path: Path
) -> None:
    upstream.script(f"*/blobs/{image.layers[0]}", *PASSING[name], method="GET")
    proxy = make_proxy(berth, upstream.url)
    assert PULLS[client](run, f"{proxy.name}/app:v1", tmp_path / "pulled") == image.digest


def test_what_lasts_is_told_and_nothing_of_it_is_kept(run: Run, berth: Server, tmp_path: Path) -> None:
    """All at once, each at a registry of its own: Berth leaves alone for a while what it could not have."""
    with ThreadPoolExecutor(len(LASTING)) as pool:
        tried = {
            name: pool.submit(_try_in_vain, run, berth, fault, tmp_path / str(number))
            for number, (name, fault) in enumerate(LASTING.items())
        }
        assert {name: attempt.result() for name, attempt in tried.items()} == dict.fromkeys(LASTING, "")


def _try_in_vain(run: Run, berth: Server, fault: Fault, folder: Path) -> str:
    """By crane, which shows what it is told; then by each client, after that. Returns what is wrong."""
    folder.mkdir()
    with scripted() as upstream:
        image = upstream.put_image("app", "v1", layers=[layout.file_layer("data", os.urandom(300_000))])
        upstream.script(f"*/blobs/{image.layers[0]}", fault, method="GET", always=True)
        proxy = make_proxy(berth, upstream.url)
        told = run("crane", "pull", f"{proxy.name}/app:v1", str(folder / "image.tar"), fails=True)
        if "upstream" not in told and f"registry {proxy.project}" not in told:
            return f"crane is told {told}"
        run("crane", "blob", f"{proxy.name}/app@{image.layers[0]}", fails=True)
        upstream.heal()
        pulled = {client: _pull_in_time(run, proxy, client, folder) for client in PULLS}
        return "" if set(pulled.values()) == {image.digest} else f"clients pull {pulled}"


def _pull_in_time(run: Run, proxy: Proxy, client: str, folder: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return PULLS[client](run, f"{proxy.name}/app:v1", folder / f"{client}{time.monotonic()}")
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(2)


@pytest.mark.parametrize("client", PULLS)
def test_bytes_from_the_host_that_upstream_redirects_to(
    run: Run, berth: Server, image: Image, upstream: Scripted, client: str, tmp_path: Path
) -> None:
    with scripted("127.0.0.2") as cdn:
        upstream.redirect_blobs(cdn)
        proxy = make_proxy(berth, upstream.url)
        assert PULLS[client](run, f"{proxy.name}/app:v1", tmp_path / "pulled") == image.digest
        assert cdn.count("GET", "*/blobs/*") >= len(image.blobs)


def _too_many(upstream: Scripted) -> None:
    upstream.script("*/manifests/*", faults.too_many("2"), always=True)


def _wrong_manifest(upstream: Scripted) -> None:
    upstream.script("*/manifests/*", faults.wrong_bytes(), method="GET", always=True)


def _server_error(upstream: Scripted) -> None:
    upstream.script("*/manifests/*", faults.refuse(500), always=True)


def _hangs_up(upstream: Scripted) -> None:
    upstream.script("*/manifests/*", faults.hang_up(), always=True)


def _loops(upstream: Scripted) -> None:
    upstream.script("*/manifests/*", faults.redirect("{path}"), always=True)


@pytest.mark.parametrize(
    ("goes_wrong", "told"),
    [
        (_too_many, "TOOMANYREQUESTS"),
        (_wrong_manifest, "sends is sha256:"),
        (_server_error, "answers 500"),
        (_hangs_up, "ProtocolError"),
        (_loops, "redirects too often"),
    ],
)
def test_a_manifest_that_is_not_to_be_had(
    run: Run,
    berth: Server,
    upstream: Scripted,
    image: Image,
    goes_wrong: Callable[[Scripted], None],
    told: str,
    tmp_path: Path,
) -> None:
    """Who has a copy is served that by tag and by digest; who has none is told why."""
    kept, never = make_proxy(berth, upstream.url), make_proxy(berth, upstream.url)
    assert PULLS["crane"](run, f"{kept.name}/app:v1", tmp_path / "before") == image.digest
    goes_wrong(upstream)
    wait_until_stale()
    for client in PULLS:
        assert PULLS[client](run, f"{kept.name}/app:v1", tmp_path / f"{client}-tag") == image.digest
        assert PULLS[client](run, f"{kept.name}/app@{image.digest}", tmp_path / f"{client}-digest") == image.digest
    assert told in run("crane", "manifest", f"{never.name}/app:v1", fails=True)
    run("skopeo", "inspect", "--tls-verify=false", f"docker://{never.name}/app:v1", fails=True)
    upstream.heal()
    time.sleep(2)
    wait_until_stale()
    assert PULLS["skopeo"](run, f"{never.name}/app:v1", tmp_path / "after") == image.digest
