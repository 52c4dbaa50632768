"""A dry run: what a run with the same parameters would free, and how long it would take. It writes nothing.

The same looks as the run's, but what they find free is only taken for gone: a manifest that nothing but such manifests
hold is free too, and so is a blob. One process does it, for it needs to know all that is taken for gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from chalicelib.gc import blobs, look, manifests
from chalicelib.gc.blobs import THREADS
from chalicelib.gc.look import Hold
from chalicelib.gc.manifests import Seen
from chalicelib.gc.records import Tally, Times
from chalicelib.gc.work import Stopped
from chalicelib.storage import candidates
from chalicelib.storage.blobs import CONDEMNED
from chalicelib.storage.conditions import now

_CHUNK = 100

_BLOB_LOOKS, _MANIFEST_LOOKS = 3.0, 12.0
"""What a run does for what it deletes, in looks: it looks twice at a blob; it reads a manifest
and what may hold it, marks and deletes it, and lets go of each blob."""
_LOOK_SECONDS = 0.005
"""A look where none could be measured."""
_ROUND_SECONDS = 1.0
"""Of a round: planning it, and starting its workers."""

T = TypeVar("T")
Name = tuple[str, str]
"""A repository and a digest in it."""


@dataclass(frozen=True)
class Forecast:
    """What would be purged, and the seconds that it would take, with those of waiting for window and grace."""

    tally: Tally
    seconds: float
    waits: float


def make(times: Times, *, delete_untagged: bool, workers: int, stopped: Stopped = lambda: False) -> Forecast:
    """Look at everything that may be garbage now."""
    started = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        gone, levels = _manifests(pool, times, stopped) if delete_untagged else ({}, 0)
        sizes, looks, condemned = _blobs(pool, gone, times, stopped)
    tally = Tally(len(sizes), len(gone), sum(sizes.values()) + sum(seen.record.size for seen in gone.values()))
    each = (time.monotonic() - started) / looks if looks else _LOOK_SECONDS
    waits = times.window / 1000 * levels
    if sizes and not (levels == 0 and condemned == len(sizes)):
        waits += times.grace / 1000
    rounds = 1 + levels + bool(sizes)
    work = each * (_BLOB_LOOKS * len(sizes) + _MANIFEST_LOOKS * len(gone)) / workers
    return Forecast(tally, waits + work + rounds * _ROUND_SECONDS, waits)


def _manifests(pool: ThreadPoolExecutor, times: Times, stopped: Stopped) -> tuple[dict[Name, Seen], int]:
    """The manifests that would go, and how many times the run would wait for what they release."""
    gone: dict[Name, Seen] = {}
    for names in _chunks(candidates.manifests(now() - times.window)):
        if stopped():
            return gone, 0
        gone |= _with_accessories(seen for seen in manifests.survey(pool, names, times) if seen.hold is Hold.FREE)
    levels, latest = int(bool(gone)), gone
    while latest and not stopped():
        released = [name for seen in latest.values() for name in _released(seen) if name not in gone]
        looks = (seen for names in _chunks(released) for seen in manifests.look_at(pool, names, times))
        latest = _with_accessories(seen for seen in looks if _would_be_free(seen.hold, seen.holders, gone))
        levels += bool(latest)
        gone |= latest
    return gone, levels


def _with_accessories(found: Iterable[Seen]) -> dict[Name, Seen]:
    """Manifests that would go, and what goes with them."""
    return {_name(each): each for seen in found for each in (seen, *manifests.accessories(seen.record))}


def _released(seen: Seen) -> Iterator[Name]:
    """What a manifest lets go of when it goes: its children."""
    for digest in seen.parsed.children if seen.parsed else ():
        yield seen.record.repository, digest


def _blobs(
    pool: ThreadPoolExecutor, gone: dict[Name, Seen], times: Times, stopped: Stopped
) -> tuple[dict[str, int], int, int]:
    """Sizes of the blobs that would go, by digest; how many were looked at, and how many were condemned already."""
    sizes: dict[str, int] = {}
    looks = condemned = 0
    for digests in _chunks(candidates.blobs(now())):
        if stopped():
            break
        for seen in blobs.survey(pool, digests, times):
            looks += 1
            if seen.blob is not None and seen.hold is Hold.FREE:
                sizes[seen.blob.digest] = seen.blob.size
                condemned += seen.blob.state == CONDEMNED
    named = {digest for seen in gone.values() if seen.parsed for digest in seen.parsed.references}
    for digests in _chunks(digest for digest in sorted(named) if digest not in sizes):
        if stopped():
            break
        for seen in pool.map(lambda digest: look.at_blob(digest, times, every=True), digests):
            looks += 1
            if seen.blob is not None and _would_be_free(seen.hold, seen.holders, gone):
                sizes[seen.blob.digest] = seen.blob.size
    return sizes, looks, condemned


def _would_be_free(hold: Hold, holders: frozenset[Name], gone: dict[Name, Seen]) -> bool:
    """Whether nothing holds it but what would be gone. A tag is a hold without a holder."""
    return hold is Hold.FREE or (hold is Hold.HELD and bool(holders) and holders <= gone.keys())


def _name(seen: Seen) -> Name:
    return seen.record.repository, seen.record.digest


def _chunks(names: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(names)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
