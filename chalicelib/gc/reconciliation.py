"""The pass over everything, seldom: edges, links and objects that crashes have left (docs/gc.md, "Crashes").

First the uploads' sessions and then the tables, a segment at a time, which notes the objects in use; then the bucket,
by the first digit of the keys.
"""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Iterable, Mapping

from chalicelib.gc import orphans, work
from chalicelib.gc.records import Tally, Times, Watch
from chalicelib.gc.store import scans
from chalicelib.registry.store import blobs as blob_table
from chalicelib.settings import settings
from chalicelib.storage import bulk
from chalicelib.storage.conditions import now

SEGMENTS = range(scans.SEGMENTS)
FOLDERS = ("blobs", "manifests")
SHARDS = [f"{folder}/{digit}" for folder in FOLDERS for digit in string.hexdigits[:16]]
"""What the keys of objects begin with: their names are random hexadecimal digits."""


def tables(run: str, segment: int, times: Times, watch: Watch) -> Tally:
    """Sweep orphan edges and dead links of a segment, and note which objects it names. May be done again."""
    _note_sessions(run, segment)
    total = Tally()
    records: dict[str, str] = {}
    used: dict[str, list[str]] = defaultdict(list)
    for page in scans.blobs_table(segment):
        if not watch(0, total):
            return total
        _note(used, page.records.values())
        found = orphans.of([edge for edge in page.edges if edge.created < now() - times.window], times)
        orphans.sweep(found)
        records |= page.records
        suspects = [(name, digest) for name, digest, key in page.links if records.get(digest) != key]
        total += Tally(purged_edges=len(found), purged_links=sum(_drop_if_dead(*suspect) for suspect in suspects))
        records = dict(list(records.items())[-1:])  # its links may go on in the next page
    for keys in scans.large_manifests(segment):
        _note(used, keys)
    _write(used, run, str(segment))
    work.write_page(_noted(run, segment), [])
    return total


def objects(run: str, shard: str, times: Times, watch: Watch) -> Tally:
    """Delete the objects of a shard that nothing names and no upload can still publish. May be done again.

    S3 dates a multipart object by the start of its upload, which may be any time ago: what an upload can still publish
    is what its session names. An object is older than the look at the sessions by what no session may be behind its
    object, which the window exceeds; the time of an upload is a margin.
    """
    used = {key for page in work.read_pages(_used(run, shard)) for key in page}
    looked = work.read_page(_sessions(run))
    if not looked:
        return Tally()  # the run has ended, and its pages are gone: what is in use is not known
    before = looked[0] - times.window - settings().upload_seconds * 1000
    total = Tally()
    for page in bulk.pages(shard):
        if not watch(0, total):
            return total
        strays = [key for key, time in page if time < before and key not in used]
        bulk.delete(strays)
        total += Tally(purged_objects=len(strays))
    return total


def noted(run: str) -> bool:
    """Whether all segments have said what they use: else no object may be deleted."""
    return all(work.has_page(_noted(run, segment)) for segment in SEGMENTS)


def _note_sessions(run: str, segment: int) -> None:
    """Note what uploads can still publish, before the tables are read: what they publish until then is there.

    Whichever segment comes first does it; of several at once each does, and none replaces what another has noted.
    """
    if work.has_page(_sessions(run)):
        return
    began = now()
    used: dict[str, list[str]] = defaultdict(list)
    for keys in scans.sessions():
        _note(used, keys)
    _write(used, run, f"{segment}-sessions")
    work.write_page(_sessions(run), [began])


def _note(used: dict[str, list[str]], keys: Iterable[str]) -> None:
    for key in keys:
        folder, _, name = key.partition("/")
        if folder in FOLDERS:
            used[f"{folder}/{name[:1]}"].append(key)


def _write(used: Mapping[str, list[str]], run: str, name: str) -> None:
    for shard, keys in used.items():
        work.write_page(f"{_used(run, shard)}{name}", keys)


def _noted(run: str, segment: int) -> str:
    return f"{run}/noted/{segment}"


def _used(run: str, shard: str) -> str:
    """What the pages of a shard's objects in use begin with."""
    return f"{run}/used/{shard}/"


def _sessions(run: str) -> str:
    """The page that says when the sessions were looked at; it is there once they are noted."""
    return f"{run}/sessions"


def _drop_if_dead(repository: str, digest: str) -> bool:
    """Delete a link to an incarnation that is gone.

    The link is read before the record: its key was the record's when it was written, and a key never comes back.
    """
    link = blob_table.read_link(repository, digest)
    if link is None:
        return False
    record = blob_table.read_record(digest)
    if record is not None and record.object_key == link.object_key:
        return False
    return blob_table.delete_link(link, link.version)
