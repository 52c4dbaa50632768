"""Requests a second: manifests by tag and by digest, and HEADs of blobs, by one client and by eight."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import load
from tests.bench.images import MANIFEST
from tests.bench.load import Load, Target
from tests.bench.scale import Scale
from tests.bench.servers import Server
from tests.bench.table import Row

_WARM_UP_SECONDS = 1.0


def rows(
    berth: Server, peer: Server, repository: str, tag: str, digests: tuple[str, str], scale: Scale
) -> Iterator[Row]:
    """Load both servers in turns. `digests` are those of the tagged manifest and of one of its layers."""
    manifest, layer = digests
    kinds = [
        ("manifest GET by tag", "GET", f"manifests/{tag}", 200, 2.0),
        ("manifest GET by digest", "GET", f"manifests/{manifest}", 200, 2.0),
        ("blob HEAD", "HEAD", f"blobs/{layer}", 307, 1.0),
    ]
    for name, method, path, status, at_least in kinds:
        for clients in (1, 8):
            measured: dict[str, list[Load]] = {berth.name: [], peer.name: []}
            for repetition in range(-1, scale.repetitions):
                order = [berth, peer] if repetition % 2 else [peer, berth]
                for server in order:
                    # Asked for each time: a token lives for minutes only.
                    headers = {"Accept": MANIFEST, **server.authorization(repository)}
                    target = Target(method, f"http://{server.name}/v2/{repository}/{path}", headers, status)
                    seconds = scale.load_seconds if repetition >= 0 else _WARM_UP_SECONDS
                    result = load.run(target, clients, seconds)
                    if repetition >= 0:
                        measured[server.name].append(result)
            ours, theirs = load.median(measured[berth.name]), load.median(measured[peer.name])
            title = f"{name}, {clients} client{'s' if clients > 1 else ''}"
            yield Row(
                title,
                "/s",
                ours.requests_per_second,
                theirs.requests_per_second,
                at_least=at_least,
                berth_more=_percentiles(ours),
                peer_more=_percentiles(theirs),
            )


def _percentiles(result: Load) -> str:
    return f"(p50 {result.p50:.1f}, p99 {result.p99:.1f} ms)"
