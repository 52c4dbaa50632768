"""Runs the benchmark, prints its table, writes build/bench.json; status 1 when a full run misses a target.

python -m tests.bench [registry] [lists] [collection] [proxy] [relay]        all of them when none is named
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from infra.package import BUILD, build_zip
from tests.bench import answers, calls, collection, lambda_start, lists, proxy, relay, scale, servers, table, transfers
from tests.bench.images import digests, make_image
from tests.bench.scale import Scale
from tests.bench.table import Row

_PRIVATE, _PUBLIC = "private", "public"


def main() -> None:
    named = sys.argv[1:] or list(_SUITES)
    if unknown := [name for name in named if name not in _SUITES]:
        sys.exit(f"bench: there is no {', '.join(unknown)}: name some of {', '.join(_SUITES)}, or none for all")
    servers.require_tools()
    size = scale.from_environment()
    rows = []
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as scratch:
        for row in (row for name in named for row in _SUITES[name](_folder(scratch, name), size)):
            rows.append(row)
            print(f"bench: {'  '.join(filter(None, row.cells))}", file=sys.stderr, flush=True)
    print(f"\n{table.text(rows)}\n\n{_NOTES}")
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(json.dumps([row.facts() for row in rows], indent=1) + "\n")
    missed = [row.name for row in rows if row.is_met is False]
    if missed and size.is_binding:
        sys.exit(f"bench: missed: {', '.join(missed)}")


def _folder(scratch: str, suite: str) -> Path:
    """A suite's own, so that none meets what another has left."""
    folder = Path(scratch, suite)
    folder.mkdir()
    return folder


def _registry(folder: Path, size: Scale) -> Iterator[Row]:
    state = folder / "berth"
    image = folder / "image"
    make_image(image, 64 << 10)
    with servers.berth(state) as berth:
        first_start = berth.seconds
        berth.make_project(_PRIVATE, public=False)
        berth.make_project(_PUBLIC, public=True)
        with servers.docker_registry(folder, berth) as peer:
            for server in (berth, peer):
                transfers.push(server, f"{_PRIVATE}/app", image)
            yield from answers.rows(berth, peer, f"{_PRIVATE}/app", "latest", digests(image), size)
            yield from transfers.small_images(berth, peer, f"{_PRIVATE}/small", folder, size)
            yield from transfers.large_layer(berth, peer, _PRIVATE, folder, size)
            yield Row("peak memory", "MB", berth.peak_bytes / 1e6, peer.peak_bytes / 1e6)
        transfers.push(berth, f"{_PUBLIC}/app", image)
        archive = build_zip()
        with zipfile.ZipFile(archive) as contents:
            contents.extractall(folder / "package")
        yield from lambda_start.rows(berth, folder / "package", f"{_PUBLIC}/app/manifests/{digests(image)[0]}", size)
        yield from calls.rows(berth, f"{_PRIVATE}/calls")
    with servers.berth(state) as again:
        servers.require_manifest(again, f"{_PRIVATE}/app", "latest")
        yield Row("make run, first until healthy", "s", first_start)
        yield Row("make run, second until healthy", "s", again.seconds, at_most=5.0)
    yield Row("packaged zip", "MB", archive.stat().st_size / 1e6, at_most=30.0)


def _lists(folder: Path, size: Scale) -> Iterator[Row]:
    return lists.rows(folder / "lists", size.list_sizes)


_SUITES: Mapping[str, Callable[[Path, Scale], Iterator[Row]]] = {
    "registry": _registry,
    "lists": _lists,
    "collection": collection.rows,
    "proxy": proxy.rows,
    "relay": relay.rows,
}


_NOTES = f"""\
Medians, both servers in turns on one machine ({os.cpu_count()} cores) and one local cloud. Ratios are Berth's figure by
the peer's. The peer is docker-registry as Debian configures it, on S3, without a login; Berth's project is private, its
clients send a bearer token, and skopeo fetches one for each copy. Berth's peak memory is the gateway's: the request
function and the upload relay in one process. The request Lambda's peer is a bare Chalice and boto3 app. A
list's figure is that among the most there is of everything, its peer that among the least; own time leaves out what
its calls wait for the local cloud. What looks for a part of a name reads names, in a limited number of calls; the
audit log is compared from a thousand entries on, which fill its partitions' pages. Cold and warm pulls through are of
a docker-registry 50 ms and 20 MB/s a connection away, by skopeo into a folder, which takes layer by layer; the peer is
docker-registry's own pull-through mode; of the warm one, Berth's ordinary project and a HEAD of the far registry."""


if __name__ == "__main__":
    main()
