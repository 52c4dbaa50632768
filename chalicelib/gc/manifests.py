"""Untagged manifests, a page at a time: deleted as a client would, or cleared (docs/gc.md, "Untagged manifests")."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from chalicelib.gc import holds, look, work
from chalicelib.gc.blobs import THREADS
from chalicelib.gc.look import Hold
from chalicelib.gc.records import Tally, Times, Watch
from chalicelib.gc.work import DoomedManifest
from chalicelib.oci import manifests
from chalicelib.oci.accessories import is_fallback_tag
from chalicelib.oci.errors import Immutable, ManifestUnknown, Referenced
from chalicelib.oci.manifests import Manifest
from chalicelib.registry import attachments, deletion, pull
from chalicelib.registry.store import manifests as table
from chalicelib.registry.store.manifests import Record
from chalicelib.storage.conditions import now

_CHUNK = 20


@dataclass(frozen=True)
class Seen:
    """What was seen of a manifest. `parsed` is None when it is no longer there."""

    record: Record
    parsed: Manifest | None
    hold: Hold
    holders: frozenset[tuple[str, str]] = field(default=frozenset())


def collect(page: str, candidates: Sequence[tuple[str, str]], times: Times, watch: Watch) -> Tally:
    """Delete those of (repository, digest) that have neither tag nor index nor subject, and clear those that have.

    May be killed anywhere and done again: what goes is written down first, under `page`, so that the next try counts
    what the last one deleted. The rounds that follow are due by that count. Ends early when told to.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        doomed = {(each.repository, each.digest): each for each in work.read_doomed(page, DoomedManifest)}
        total, counted = _count(pool, doomed.values())
        for start in range(0, len(candidates), _CHUNK):
            if not watch(start / len(candidates), total):
                break
            looks = list(survey(pool, candidates[start : start + _CHUNK], times))
            going = {(each.repository, each.digest): each for some in pool.map(_doomed, looks) for each in some}
            if going:
                doomed |= going
                work.write_doomed(page, doomed.values())
            total += Tally(cleared=sum(pool.map(_settle, looks)))
            tally, gone = _count(pool, (each for name, each in going.items() if name not in counted))
            total, counted = total + tally, counted | gone
    return total


def _doomed(seen: Seen) -> list[DoomedManifest]:
    """What goes with a manifest that nothing holds, itself first."""
    if seen.hold is not Hold.FREE:
        return []
    return [
        DoomedManifest(each.record.repository, each.record.digest, each.record.size, _children(each))
        for each in (seen, *accessories(seen.record))
    ]


def _children(seen: Seen) -> int:
    return len(seen.parsed.children) if seen.parsed else 0


def _count(pool: ThreadPoolExecutor, doomed: Iterable[DoomedManifest]) -> tuple[Tally, set[tuple[str, str]]]:
    """What those of the doomed come to that are gone, whichever try deleted them; and their names.

    One that was pushed again meanwhile is none of them: it names again what it had let go of.
    """
    asked = list(doomed)
    standing = table.read_generations({(each.repository, each.digest) for each in asked})
    gone = {(each.repository, each.digest): each for each in asked if (each.repository, each.digest) not in standing}
    referrers = sum(len(found) for found in pool.map(lambda name: table.referrers_of(*name), gone))
    released = sum(each.children for each in gone.values()) + referrers
    freed = sum(each.size for each in gone.values())
    return Tally(purged_manifests=len(gone), freed_space=freed, released_manifests=released), set(gone)


def survey(pool: ThreadPoolExecutor, candidates: Sequence[tuple[str, str]], times: Times) -> Iterator[Seen]:
    """A look at each candidate that is due; the record says."""
    return look_at(pool, candidates, times, lambda record: is_due(record, times))


def look_at(
    pool: ThreadPoolExecutor,
    names: Sequence[tuple[str, str]],
    times: Times,
    wanted: Callable[[Record], bool] = lambda _record: True,
) -> Iterator[Seen]:
    """A look at each (repository, digest) that is there and `wanted`."""
    read = pool.map(lambda name: table.read_record(*name), names)
    records = [record for record in read if record and wanted(record)]
    retained = {name: holds.retained(name) for name in {record.repository for record in records}}
    return pool.map(lambda record: at(record, times, retained[record.repository]), records)


def is_due(record: Record, times: Times) -> bool:
    return record.candidate_since is not None and record.candidate_since < now() - times.window


def at(record: Record, times: Times, retained: Container[str]) -> Seen:
    """Look at what may hold a manifest: a tag, an index, a subject that it refers to, a rule, an accessory with a tag.

    What a rule retains today it may let go of tomorrow, so that stays a candidate. So does the subject of an accessory
    that somebody has tagged: they go together, when the tag has gone.
    """
    repository, digest = record.repository, record.digest
    if digest in retained:
        return Seen(record, None, Hold.PENDING)
    if table.tags_of(repository, digest):
        return Seen(record, None, Hold.HELD)
    parsed = _parse(record)
    if parsed is None:
        return Seen(record, None, Hold.PENDING)
    hold, holders = look.inspect_manifest(repository, digest, times)
    if hold is Hold.FREE and parsed.subject is not None and table.read_record(repository, parsed.subject):
        hold, holders = Hold.HELD, frozenset({(repository, parsed.subject)})
    if hold is Hold.FREE and not _goes_with_all(repository, digest):
        hold = Hold.PENDING
    return Seen(record, parsed, hold, holders)


def _goes_with_all(repository: str, digest: str) -> bool:
    """Whether what is about a manifest may go with it: nobody has tagged it, and no index names it."""
    going = attachments.all_of(repository, digest)
    if any(not is_fallback_tag(tag) for each in going for tag in table.tags_of(repository, each)):
        return False
    try:
        if going:
            attachments.require_unnamed(repository, digest, going)
    except Referenced:
        return False
    return True


def accessories(record: Record) -> list[Seen]:
    """What would be deleted with a manifest: all that is about it, and about that (registry/attachments.py)."""
    going = attachments.all_of(record.repository, record.digest)
    return [Seen(about, _parse(about), Hold.FREE) for about in table.read_records(record.repository, going).values()]


def _parse(record: Record) -> Manifest | None:
    try:
        pulled = pull.manifest(record.repository, record.digest)
    except ManifestUnknown:
        return None
    return manifests.stored(pulled.content, pulled.media_type)


def _settle(seen: Seen) -> bool:
    """Carry out what a look has shown. Whether a candidate was cleared; what was deleted, `_count` finds out."""
    record = seen.record
    if seen.hold is Hold.HELD:
        return table.clear_candidate(record)
    if seen.hold is Hold.FREE:
        # An index came to name it, or a tag of what is about it must stay: then it is looked at again.
        with suppress(Referenced, ManifestUnknown, Immutable):
            deletion.manifest_as_seen(record.repository, record.digest, record.generation, (), spares_tagged=True)
    return False
