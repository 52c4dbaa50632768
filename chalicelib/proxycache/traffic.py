"""What pulls through proxy projects come to: gathered in memory, written off the request path, told as metrics.

The project's summary shows the sums (proxycache/store/traffic.py). CloudWatch gets the same as EMF, by project.
"""

from __future__ import annotations

from collections import defaultdict

from chalicelib import observability
from chalicelib.background import WriteBehindBuffer
from chalicelib.proxycache.store import traffic as table
from chalicelib.proxycache.store.traffic import Traffic
from chalicelib.storage.conditions import is_transient

_Entry = tuple[int, Traffic]


def count_hit(project_id: int, size: int) -> None:
    """A client got `size` bytes of the local copy."""
    gathered.add((project_id, Traffic(requests=1, hits=1, saved_bytes=size)))


def count_miss(project_id: int) -> None:
    """A client asked for what had to be fetched."""
    gathered.add((project_id, Traffic(requests=1, misses=1)))


def count_saved(project_id: int, size: int) -> None:
    """A client that was counted as missing something got `size` bytes of it from here in the end."""
    gathered.add((project_id, Traffic(saved_bytes=size)))


def count_head(project_id: int) -> None:
    """A client sent a HEAD, or asked for a list."""
    gathered.add((project_id, Traffic(requests=1)))


def count_upstream(project_id: int) -> None:
    """The upstream registry is asked."""
    gathered.add((project_id, Traffic(upstream_requests=1)))


def count_fill(project_id: int, blobs: int, size: int) -> None:
    """So many blobs are fetched, of `size` bytes as far as that is known: bytes that their pulls do not save."""
    gathered.add((project_id, Traffic(upstream_requests=blobs, saved_bytes=-size)))


def _write(entries: list[_Entry]) -> list[_Entry]:
    """Returns the sums that the store was too busy for."""
    sums: dict[int, Traffic] = defaultdict(Traffic)
    for project_id, traffic in entries:
        sums[project_id] += traffic
    left = []
    for project_id, traffic in sums.items():
        try:
            table.add(project_id, traffic)
        except Exception as error:
            if not is_transient(error):
                raise
            left.append((project_id, traffic))
            continue
        observability.counted(
            {
                "ProxyHits": traffic.hits,
                "ProxyMisses": traffic.misses,
                "ProxyUpstreamRequests": traffic.upstream_requests,
                "ProxyUpstreamRequestsSaved": traffic.saved_requests,
                "ProxyBytesSaved": traffic.saved_bytes,
            },
            project=str(project_id),
        )
    return left


gathered = WriteBehindBuffer(_write)
