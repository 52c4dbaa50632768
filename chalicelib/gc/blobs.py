"""Candidates among blobs, a page at a time: condemned, deleted, or cleared (docs/gc.md, "Collector")."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from chalicelib.gc import look, orphans, work
from chalicelib.gc.look import Hold, Inspection
from chalicelib.gc.records import Tally, Times, Watch
from chalicelib.gc.store import blobs
from chalicelib.gc.work import Doomed
from chalicelib.registry import unreferenced
from chalicelib.registry.store.blobs import CONDEMNED, Blob
from chalicelib.storage import bulk
from chalicelib.storage.conditions import now

THREADS = 2
"""Calls under way at once in one worker: enough to hide the way to the stores, and few beside those of clients."""

_CHUNK = 100
"""Candidates between two calls of the watch."""


def collect(page: str, digests: Sequence[str], times: Times, watch: Watch, *, condemn: bool = True) -> Tally:
    """Deal with a page of candidates: what was condemned long enough and is free goes; what is due is condemned.

    May be killed anywhere and done again: what goes is written down first, under `page`, so that the next try deletes
    the objects whose records the last one deleted, and counts them. Ends early, with all that it began, when told to.
    """
    total, doomed = Tally(), work.read_doomed(page, Doomed)
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(digests), _CHUNK):
            if not watch(start / len(digests), total + _sum(doomed)):
                break
            looks = list(survey(pool, digests[start : start + _CHUNK], times))
            going = {seen.blob.digest: Doomed.of(seen.blob) for seen in looks if seen.blob and _goes(seen, times)}
            if going:
                doomed += going.values()
                work.write_doomed(page, doomed)
            total += _settle(pool, looks, going, times, condemn=condemn)
    return total + _delete_objects(doomed)


def _sum(doomed: Iterable[Doomed]) -> Tally:
    """What doomed blobs come to. While their page is worked on they count as gone: their records are, but for a few."""
    sizes = [each.size for each in doomed]
    return Tally(purged_blobs=len(sizes), freed_space=sum(sizes))


def survey(
    pool: ThreadPoolExecutor, digests: Sequence[str], times: Times, *, early: bool = False
) -> Iterator[Inspection]:
    """A look at each of `digests` that is due by its record: a candidate for longer than the window, or condemned.

    With `early`, at what will be due in time as well: every candidate.
    """
    found = blobs.read_blobs(digests)
    due = [blob for blob in found if is_due(blob, times) or (early and blob.candidate_since is not None)]
    return pool.map(lambda blob: look.inspect_blob(blob.digest, times), due)


def is_due(blob: Blob, times: Times) -> bool:
    """Whether it is time to look at a blob. A condemned one is looked at before its time too: it is counted."""
    if blob.candidate_since is None:
        return False
    return blob.state == CONDEMNED or blob.candidate_since < now() - times.window


def _goes(seen: Inspection, times: Times) -> bool:
    """Whether a blob is to be deleted now: condemned for longer than the grace, and nothing names it."""
    blob = seen.blob
    if blob is None or blob.candidate_since is None or blob.state != CONDEMNED:
        return False
    return seen.hold is Hold.FREE and blob.candidate_since < now() - times.grace


def _settle(
    pool: ThreadPoolExecutor, looks: Sequence[Inspection], going: Container[str], times: Times, *, condemn: bool
) -> Tally:
    """Carry out what looks have shown. A write that fails was overtaken: the next run looks again."""
    seen = [(each, each.blob) for each in looks if each.blob is not None and is_due(each.blob, times)]
    held = [blob for each, blob in seen if each.hold is Hold.HELD]
    edges = [edge for each, _ in seen if each.hold is Hold.PENDING for edge in each.orphans]
    free = [blob for each, blob in seen if each.hold is Hold.FREE and blob.digest not in going]
    waiting = [blob for blob in free if blob.state == CONDEMNED]
    last = max((blob.candidate_since or 0 for blob in waiting), default=0)
    if condemn and (condemned := blobs.condemn([blob for blob in free if blob.state != CONDEMNED])):
        waiting += condemned
        last = now()
    orphans.sweep(edges)
    deleted = blobs.delete((blob, each.links) for each, blob in seen if blob.digest in going)
    unreferenced.count_collected(deleted)
    return Tally(
        condemned=len(waiting),
        condemned_space=sum(blob.size for blob in waiting),
        condemned_last=last,
        cleared=sum(pool.map(blobs.clear, held)),
        purged_edges=len(edges),
    )


def _delete_objects(doomed: Sequence[Doomed]) -> Tally:
    """Delete the objects of the doomed whose records are gone: the record first, the object after."""
    standing = {blob.object_key for blob in blobs.read_blobs(each.digest for each in doomed)}
    gone = {each.object_key: each for each in doomed if each.object_key not in standing}
    bulk.delete(list(gone))
    return _sum(gone.values())
