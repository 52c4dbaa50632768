"""A dry run: what a run with the same parameters would free, and how long it would take. It changes nothing.

The same looks as the run's, but what they find free is only taken for gone: a manifest that nothing but such manifests
hold is free too, and so is a blob. So it goes in rounds as the run does: manifests, those that they let go of, level by
level, then blobs, and last those that are no candidates yet. What a page of them has come to is written beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from chalicelib.gc import blobs, look, manifests, work
from chalicelib.gc.blobs import THREADS
from chalicelib.gc.look import Hold, Inspection
from chalicelib.gc.manifests import Seen
from chalicelib.gc.records import Due, Tally, Task, Times, Watch
from chalicelib.gc.store import candidates
from chalicelib.registry.store.blobs import CONDEMNED
from chalicelib.storage.conditions import now

MANIFESTS, CHILDREN = "forecast-manifests", "forecast-children"
BLOBS, NAMED, TELL = "forecast-blobs", "forecast-named", "forecast"
_ORDER = (MANIFESTS, CHILDREN, BLOBS, NAMED, TELL)
KINDS = frozenset(_ORDER)

_CHUNK = 100

_BLOB_LOOKS, _MANIFEST_LOOKS = 3.0, 12.0
"""What a run does for what it deletes, in looks: it looks twice at a blob; it reads a manifest
and what may hold it, marks and deletes it, and lets go of each blob."""
_LOOK_SECONDS = 0.005
"""A look where none could be measured."""
_ROUND_SECONDS = 1.0
"""Of a round: planning it, and starting its workers."""

Name = tuple[str, str]
"""A repository and a digest in it."""


@dataclass(frozen=True)
class Forecast:
    """What would be purged, and the seconds that it would take, with those of waiting for window and grace."""

    tally: Tally
    seconds: float
    waits: float


@dataclass
class Found:
    """What a page has come to: what would go, by name and by digest, with sizes; and what that lets go of."""

    level: int
    """How many rounds of manifests came before."""
    manifests: list[tuple[str, str, int]] = field(default_factory=list)
    children: list[Name] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    blobs: list[tuple[str, int]] = field(default_factory=list)
    condemned: int = 0
    """Of the blobs, those that a run need not condemn first."""
    condemned_last: int = 0
    """When the last of those was, in milliseconds since 1970: a run waits for its grace too."""
    looks: int = 0
    seconds: float = 0.0


def first(*, delete_untagged: bool) -> list[Due]:
    return [Due(MANIFESTS if delete_untagged else BLOBS, 0)]


def following(kind: str, tally: Tally, times: Times) -> list[Due]:
    """What comes after a round: another level of manifests as long as a run would come to one."""
    is_going_on = times.is_window_waited_for
    if kind in (MANIFESTS, CHILDREN):
        return [Due(CHILDREN if tally.released_manifests and is_going_on else BLOBS, 0)]
    return [Due(NAMED if kind == BLOBS and is_going_on else TELL, 0)] if kind != TELL else []


def plan(run: str, number: int, kind: str, times: Times) -> Iterator[Task]:
    """Write the pages of a round, and yield its tasks. May be done again."""
    name = f"{number}-{_ORDER.index(kind)}"
    if kind == MANIFESTS:
        pages = work.write_pages(run, name, candidates.manifests(now() - times.window))
    elif kind == CHILDREN:
        pages = work.write_pages(run, name, _released(run, number))
    elif kind == BLOBS:
        pages = work.write_pages(run, name, candidates.blobs(now()))
    elif kind == NAMED:
        pages = work.write_pages(run, name, _named(run))
    else:
        pages = iter([run])
    yield from (Task(kind, page) for page in pages)


def carry_out(run: str, task: Task, times: Times, watch: Watch) -> Tally:
    """Look at a page, and write what it has come to. May be done again. Ends early, without that, when told to."""
    if task.kind == TELL:
        return Tally()
    started = time.monotonic()
    page, found = work.read_page(task.name), Found(int(task.name.rpartition("/")[2].partition("-")[0]))
    gone = _names(run) if task.kind in (CHILDREN, NAMED) else set()
    # Behind manifests a run looks at blobs once more, a window later.
    early = task.kind == BLOBS and times.is_window_waited_for and _are_manifests_gone(run, found.level)
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(page), _CHUNK):
            if not watch(start / len(page), Tally()):
                return Tally()
            chunk = page[start : start + _CHUNK]
            if task.kind in (MANIFESTS, CHILDREN):
                _look_at_manifests(pool, [(entry[0], entry[1]) for entry in chunk], times, gone, found)
            else:
                if task.kind == NAMED:
                    seen = list(pool.map(lambda digest: look.inspect_blob(digest, times, every=True), chunk))
                else:
                    seen = list(blobs.survey(pool, chunk, times, early=early))
                found.looks += len(seen)
                _note_blobs(seen, gone, found, is_candidate=task.kind == BLOBS)
    found.seconds = time.monotonic() - started
    work.write_result(task.name, asdict(found))
    return Tally(released_manifests=len(found.children))


def report(run: str, times: Times, workers: int) -> Forecast:
    """What all pages together have come to."""
    gone: dict[Name, int] = {}
    sizes: dict[str, int] = {}
    levels: set[int] = set()
    condemned, last, looks, seconds = 0, 0, 0, 0.0
    for found in _results(run):
        gone |= {(repository, digest): size for repository, digest, size in found.manifests}
        sizes |= dict(found.blobs)
        levels |= {found.level} if found.manifests else set()
        condemned, last = condemned + found.condemned, max(last, found.condemned_last)
        looks, seconds = looks + found.looks, seconds + found.seconds
    each = seconds / looks if looks else _LOOK_SECONDS
    waits = times.window / 1000 * len(levels) if times.is_window_waited_for else 0.0
    if sizes and (waits or condemned < len(sizes)):
        waits += times.grace / 1000
    elif sizes:
        waits += max(0, last + times.grace - now()) / 1000
    rounds = 1 + len(levels) + bool(sizes)
    busy = each * (_BLOB_LOOKS * len(sizes) + _MANIFEST_LOOKS * len(gone)) / workers
    freed = sum(sizes.values()) + sum(gone.values())
    return Forecast(Tally(len(sizes), len(gone), freed), waits + busy + rounds * _ROUND_SECONDS, waits)


def _look_at_manifests(
    pool: ThreadPoolExecutor, names: Sequence[Name], times: Times, gone: set[Name], found: Found
) -> None:
    """Candidates that nothing holds, and where some are gone, those that nothing else holds."""
    seen = manifests.look_at(pool, names, times) if gone else manifests.survey(pool, names, times)
    free = [each for each in seen if _would_be_free(each.hold, each.holders, gone)]
    for each in [every for one in free for every in (one, *manifests.accessories(one.record))]:
        _note(each, found)
    found.looks += len(names)


def _note(seen: Seen, found: Found) -> None:
    """A manifest that would go, and what it lets go of."""
    record = seen.record
    found.manifests.append((record.repository, record.digest, record.size))
    if seen.parsed:
        found.children += ((record.repository, child) for child in seen.parsed.children)
        found.references += seen.parsed.references  # what an index names may be a blob


def _note_blobs(looks: Iterable[Inspection], gone: set[Name], found: Found, *, is_candidate: bool) -> None:
    """Candidates that nothing holds; or what the manifests that are gone name, and nothing else does."""
    for seen in looks:
        if seen.blob is None or not _would_be_free(seen.hold, seen.holders, gone):
            continue
        found.blobs.append((seen.blob.digest, seen.blob.size))
        if is_candidate and seen.blob.state == CONDEMNED:
            found.condemned += 1
            found.condemned_last = max(found.condemned_last, seen.blob.candidate_since or 0)


def _would_be_free(hold: Hold, holders: frozenset[Name], gone: set[Name]) -> bool:
    """Whether nothing holds it but what would be gone. A tag is a hold without a holder."""
    return hold is Hold.FREE or (hold is Hold.HELD and bool(holders) and holders <= gone)


def _are_manifests_gone(run: str, rounds: int) -> bool:
    """Whether any would be, by the results of these first rounds alone: those of blobs are many, and tell nothing."""
    return any(found.manifests for number in range(rounds) for found in _results(run, f"{number}-"))


def _results(run: str, name: str = "") -> Iterator[Found]:
    for result in work.results(run, name):
        found = Found(**result)
        found.children = [(child[0], child[1]) for child in found.children]
        yield found


def _names(run: str) -> set[Name]:
    """The manifests that would be gone by now."""
    return {(repository, digest) for found in _results(run) for repository, digest, _ in found.manifests}


def _released(run: str, number: int) -> Iterable[Name]:
    """What the round before has let go of, and is not gone yet."""
    gone = _names(run)
    return sorted({child for found in _results(run) if found.level == number - 1 for child in found.children} - gone)


def _named(run: str) -> Iterable[str]:
    """What manifests that would be gone name, without what would be gone anyway."""
    named, free = set[str](), set[str]()
    for found in _results(run):
        named.update(found.references)
        free.update(digest for digest, _ in found.blobs)
    return sorted(named - free)
