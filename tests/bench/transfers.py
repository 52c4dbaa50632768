"""Whole images by skopeo: many small ones, and one with a large layer. Both servers are treated alike, in turns."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.images import make_image, make_images
from tests.bench.scale import Scale
from tests.bench.servers import PASSWORD, Server
from tests.bench.table import Row, pair

_BASE_BYTES, _OWN_BYTES = 1 << 20, 64 << 10
"""Layers of a small image: one that all have, and one of its own."""


def small_images(berth: Server, peer: Server, repository: str, folder: Path, scale: Scale) -> Iterator[Row]:
    images = [folder / f"image{number}" for number in range(scale.images)]
    pushes: dict[str, list[float]] = {berth.name: [], peer.name: []}
    pulls: dict[str, list[float]] = {berth.name: [], peer.name: []}
    for repetition in range(scale.repetitions):
        make_images(images, _BASE_BYTES, _OWN_BYTES)
        names = [f"{repository}/{repetition}-{number}" for number in range(len(images))]
        for seconds, copy in ((pushes, push), (pulls, pull)):
            spent = {berth.name: 0.0, peer.name: 0.0}
            for number, (image, name) in enumerate(zip(images, names, strict=True)):
                for server in _in_turn(berth, peer, number):
                    spent[server.name] += copy(server, name, image)
            for server in (berth, peer):
                seconds[server.name].append(spent[server.name])
        for image in images:
            shutil.rmtree(image)
    yield pair(f"{scale.images} small images pushed", "s", pushes[berth.name], pushes[peer.name], at_most=1.0)
    yield pair(f"{scale.images} small images pulled", "s", pulls[berth.name], pulls[peer.name], at_most=1.0)


def large_layer(berth: Server, peer: Server, repository: str, folder: Path, scale: Scale) -> Iterator[Row]:
    pushes: dict[str, list[float]] = {berth.name: [], peer.name: []}
    pulls: dict[str, list[float]] = {berth.name: [], peer.name: []}
    for repetition in range(scale.layer_repetitions):
        image = folder / "large"
        make_image(image, scale.layer_bytes)
        for seconds, copy in ((pushes, push), (pulls, pull)):
            for server in _in_turn(berth, peer, repetition):
                seconds[server.name].append(copy(server, f"{repository}/large{repetition}", image))
        shutil.rmtree(image)
    size = f"{scale.layer_bytes / (1 << 30):g} GiB"
    yield pair(f"one layer of {size} pushed", "s", pushes[berth.name], pushes[peer.name], at_most=1.0)
    yield pair(f"one layer of {size} pulled", "s", pulls[berth.name], pulls[peer.name], at_most=1.0)


def push(server: Server, name: str, image: Path) -> float:
    """Push an image folder as `<name>:latest`; the seconds it took."""
    credentials = [] if server.is_open else ["--dest-creds", f"admin:{PASSWORD}"]
    return _copy("--dest-tls-verify=false", *credentials, f"dir:{image}", f"docker://{server.name}/{name}")


def pull(server: Server, name: str, image: Path, *, side_by_side: bool = False) -> float:
    """Pull what was pushed from `image`, and see that it is the same. Returns the seconds it took.

    skopeo takes layer by layer into a folder, and six `side_by_side` into an OCI layout.
    """
    pulled = image.with_name("pulled")
    credentials = [] if server.is_open else ["--src-creds", f"admin:{PASSWORD}"]
    target = f"oci:{pulled}:latest" if side_by_side else f"dir:{pulled}"
    seconds = _copy("--src-tls-verify=false", *credentials, f"docker://{server.name}/{name}", target)
    manifest = (image / "manifest.json").read_bytes()
    digest = hashlib.sha256(manifest).hexdigest()
    kept = pulled / "blobs" / "sha256" / digest if side_by_side else pulled / "manifest.json"
    if not kept.exists() or kept.read_bytes() != manifest:
        raise SystemExit(f"bench: {server.name} gave another manifest for {name}")
    shutil.rmtree(pulled)
    return seconds


def _copy(*arguments: str) -> float:
    command = ["skopeo", "--insecure-policy", "copy", "--quiet", *arguments]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(arguments[-2:])} failed: {done.stderr[-1000:]}")
    return time.monotonic() - started


def _in_turn(berth: Server, peer: Server, number: int) -> tuple[Server, Server]:
    return (peer, berth) if number % 2 else (berth, peer)
