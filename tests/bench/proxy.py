"""Pulls through from a registry far away: cold beside docker-registry's own pull-through mode, warm beside a pull of
what is at home. Both keep what they pulled on the same local cloud; the distance is tests/bench/distance.py's."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

from tests.bench import servers, transfers
from tests.bench.distance import distance
from tests.bench.images import MANIFEST, make_image
from tests.bench.scale import Scale
from tests.bench.servers import Berth, Server
from tests.bench.table import Row, pair
from tests.upstreams.servers.docker import docker_registry

ROUND_TRIP, SPEED = 0.05, 20e6
"""Seconds; bytes a second of one connection."""
_FAR, _HOME = "far", "home"
_WARM_LAYERS, _WARM_PULLS = (5_000_000,) * 10, 15
"""Of an image so small that a HEAD is not lost in what moving its bytes takes."""
_KEPT_SECONDS = 120


def rows(folder: Path, scale: Scale) -> Iterator[Row]:
    # Asked each time: the HEAD that a warm pull costs is to be measured.
    with (
        servers.berth(folder / "berth", BERTH_OUTBOUND_ALLOWED="127.0.0.0/8", BERTH_PROXY_FRESH_SECONDS="0") as berth,
        docker_registry(folder / "upstream") as upstream,
        distance(int(upstream.name.rpartition(":")[2]), ROUND_TRIP, SPEED) as port,
        servers.docker_registry(folder, berth, f"http://127.0.0.1:{port}") as peer,
    ):
        there = Server(upstream.name, 0, is_open=True)
        berth.make_proxy_project(_FAR, f"http://127.0.0.1:{port}")
        berth.make_project(_HOME, public=False)
        sides = _Sides(berth, peer, there, folder / "image")
        for layers in (scale.far_layers, (scale.far_layer_bytes,)):
            yield replace(_cold(sides, layers), at_most=0.5)
        yield _cold(sides, scale.far_layers, side_by_side=True)
        yield _warm(sides, port)


@dataclass(frozen=True)
class _Sides:
    berth: Berth
    peer: Server
    there: Server
    """The far registry, without the distance."""
    image: Path


def _cold(sides: _Sides, layers: tuple[int, ...], *, side_by_side: bool = False) -> Row:
    """Of one new image: it takes so long that no repetition is needed to see a factor of two."""
    make_image(sides.image, *layers)
    repository = f"cold{os.urandom(4).hex()}"
    transfers.push(sides.there, repository, sides.image)
    seconds = transfers.pull(sides.berth, f"{_FAR}/{repository}", sides.image, side_by_side=side_by_side)
    of_peer = transfers.pull(sides.peer, repository, sides.image, side_by_side=side_by_side)
    _wait_until_kept(sides.berth, sides.image)
    shutil.rmtree(sides.image)
    how = ", six at a time" if side_by_side else ""
    return Row(f"{_described(layers)} pulled through, cold{how}", "s", seconds, of_peer)


def _warm(sides: _Sides, port: int) -> Row:
    """Of what has been pulled through, against the same in an ordinary project and a HEAD of the far registry."""
    make_image(sides.image, *_WARM_LAYERS)
    transfers.push(sides.there, "warm", sides.image)
    transfers.push(sides.berth, f"{_HOME}/warm", sides.image)
    transfers.pull(sides.berth, f"{_FAR}/warm", sides.image)
    through, ordinary = [], []
    for _ in range(_WARM_PULLS):
        through.append(transfers.pull(sides.berth, f"{_FAR}/warm", sides.image))
        ordinary.append(transfers.pull(sides.berth, f"{_HOME}/warm", sides.image) + _head_seconds(port))
    return pair(f"{_described(_WARM_LAYERS)} pulled through, warm", "s", through, ordinary, at_most=1.0)


def _described(layers: tuple[int, ...]) -> str:
    size = sum(layers)
    return (
        f"{len(layers)} layers of {size / 1e6:.0f} MB" if len(layers) > 1 else f"one layer of {size / (1 << 30):g} GiB"
    )


def _head_seconds(port: int) -> float:
    """What a HEAD of a tag takes who has no connection yet."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("HEAD", "/v2/warm/manifests/latest", headers={"Accept": MANIFEST})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"bench: the far registry answers {answer.status}")
    return time.monotonic() - started


def _wait_until_kept(berth: Berth, image: Path) -> None:
    """Wait until docker-registry has put away what it pulled, which it goes on with after it has answered."""
    cloud = berth.environment
    s3 = boto3.client(
        "s3",
        endpoint_url=cloud["AWS_ENDPOINT_URL"],
        region_name=cloud["AWS_REGION"],
        aws_access_key_id=cloud["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=cloud["AWS_SECRET_ACCESS_KEY"],
    )
    deadline = time.monotonic() + _KEPT_SECONDS
    for layer in json.loads((image / "manifest.json").read_text())["layers"]:
        digits = layer["digest"].partition(":")[2]
        key = f"docker/registry/v2/blobs/sha256/{digits[:2]}/{digits}/data"
        while True:
            try:
                s3.head_object(Bucket=servers.PEER_BUCKET, Key=key)
                break
            except ClientError:
                if time.monotonic() > deadline:
                    raise SystemExit(f"bench: docker-registry has not kept {layer['digest']}") from None
                time.sleep(0.5)
