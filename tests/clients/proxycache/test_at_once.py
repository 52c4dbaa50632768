"""Many clients that pull the same through Berth at once, and a fill that takes longer than a request may."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.distance import distance
from tests.clients import layout
from tests.clients.conftest import Run, Server
from tests.clients.proxycache.pulls import PULLS, blobs_of, make_proxy, require_fetched_once
from tests.upstreams.servers import faults
from tests.upstreams.servers.docker import docker_registry
from tests.upstreams.servers.scripted import scripted

CLIENTS = 50


def test_fifty_clients_of_a_cold_image_fetch_each_blob_once(run: Run, berth: Server, tmp_path: Path) -> None:
    digest = layout.small(tmp_path / "image", layers=3, size=2_000_000)
    with (
        docker_registry(tmp_path / "registry") as upstream,
        distance(int(upstream.name.rpartition(":")[2]), 0.05, 1_000_000) as port,
    ):
        run("crane", "push", str(tmp_path / "image"), f"{upstream.name}/app:v1")
        upstream.forget()
        proxy = make_proxy(berth, f"http://127.0.0.1:{port}")

        def pull(number: int) -> str:
            client = ("crane", "skopeo")[number % 2]
            return PULLS[client](run, f"{proxy.name}/app:v1", tmp_path / str(number))

        with ThreadPoolExecutor(CLIENTS) as pool:
            assert set(pool.map(pull, range(CLIENTS))) == {digest}
        require_fetched_once(upstream, blobs_of(tmp_path / "image", digest))
        assert upstream.count("GET", "*/manifests/*") == 1
        assert upstream.count("HEAD", "*/manifests/*") <= CLIENTS // 5


def test_clients_wait_for_a_fill_that_outlasts_a_request(run: Run, berth: Server, tmp_path: Path) -> None:
    """Stock clients follow the redirects by which Berth has them wait longer than the gateway's 30 seconds."""
    layer = layout.file_layer("data", os.urandom(400_000))
    with scripted() as upstream:
        image = upstream.put_image("slow", "v1", layers=[layer])
        upstream.script(f"*/blobs/{image.layers[0]}", faults.drip(10_000), method="GET", always=True)
        proxy = make_proxy(berth, upstream.url)
        with ThreadPoolExecutor(2) as pool:
            pulled = pool.map(
                lambda client: PULLS[client](run, f"{proxy.name}/slow:v1", tmp_path / client), ("crane", "skopeo")
            )
            assert set(pulled) == {image.digest}
        assert upstream.sent(f"*{image.layers[0]}") == len(layer)
