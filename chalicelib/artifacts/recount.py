"""Recounting what projects use, from their manifests: it makes good what a crash left, and what older versions made.

Usage does not drift by itself: charges change in the transactions of the manifests (chalicelib/registry/charges.py).
Only who dies between dropping edges and freeing charges leaves some too many. Nothing is locked meanwhile. First every
manifest's charges are made that are missing, each followed by a look whether it is still named, since a delete beside
may have looked for the charge before; then every charge that nothing holds is freed as a delete would; last, the
totals are compared with the charges, and corrected if no push came between. All of it may be done twice and at once,
and goes on after the last page when it is cut off. Bytes that were unreferenced at the end of the last recount and are
still count no longer: the collector has had a day for them (chalicelib/registry/unreferenced.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from chalicelib import retrying
from chalicelib.artifacts import store as recounts
from chalicelib.observability import logger, measured
from chalicelib.oci import manifests
from chalicelib.projects import rules
from chalicelib.projects.records import UNLIMITED, Project
from chalicelib.projects.store import projects as project_table
from chalicelib.projects.store import usage
from chalicelib.projects.store.usage import Adjustment, Charge
from chalicelib.registry import charges
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.registry.store import repositories
from chalicelib.registry.store.blobs import Edge
from chalicelib.registry.store.manifests import Stored
from chalicelib.storage import blobstore
from chalicelib.storage.conditions import now

_MANIFESTS_A_PAGE = 50
_CHARGES_A_PAGE = 200
_LOOKS_AT_ONCE = 8

_ROUND_SECONDS = 24 * 3600
"""A round over all projects begins when the last one began so long ago."""

HasTime = Callable[[], bool]


@dataclass(frozen=True)
class Recount:
    """A project's recount, under way or done. Sizes are bytes, times milliseconds since 1970."""

    project: str
    started: int
    before: int
    """What the totals said when it began."""
    repository: str = ""
    """The last that was read: it is done unless there is a `manifest` to go on behind."""
    manifest: str = ""
    shard: int = 0
    """The shard of charges that is being looked at, once all repositories are done."""
    charge: str = ""
    are_manifests_done: bool = False
    charged: int = 0
    """What manifests named and was not counted."""
    freed: int = 0
    """What was counted and nothing named."""
    corrected: int = 0
    """By how much the totals differed from the charges."""
    unreferenced: int = 0
    """While it is under way: what was unreferenced at the end of the last one. Then: what is, of later times."""
    is_settled: bool = False
    """Whether the totals were compared: they are not while pushes come all the time."""
    after: int = 0
    finished: int = 0


def run(project: str, has_time: HasTime) -> list[dict[str, Any]]:
    """A Lambda's whole work: recount `project`, or go on with the round over all. Returns the reports of those done.

    Raises NotFoundError. It returns early when `has_time` says so, and the next run goes on from there.
    """
    if project:
        done = recount(rules.get(project), has_time)
        return [asdict(done)] if done else []
    return [asdict(done) for done in _go_round(has_time)]


def recount(project: Project, has_time: HasTime) -> Recount | None:
    """Recount one project, from where an earlier run was cut off. None when the time is over before the end."""
    stored = recounts.read(project.project_id)
    is_under_way = stored and not stored["finished"]
    last = stored.get("unreferenced", 0)
    begun = Recount(**stored) if is_under_way else Recount(project.name, now(), _used(project), unreferenced=last)
    state = begun
    for state in _pages(project, begun):
        recounts.write(project.project_id, asdict(state))
        if not has_time():
            return None
    left = _forget_unreferenced(project, state.unreferenced)
    state = replace(_settled(project, state), unreferenced=left, after=_used(project), finished=now())
    recounts.write(project.project_id, asdict(state))
    _tell(state)
    return state


def _go_round(has_time: HasTime) -> Iterator[Recount]:
    progress = recounts.read_round()
    if not progress or progress["finished"]:
        if progress and now() - progress["started"] < _ROUND_SECONDS * 1000:
            return
        progress = {"started": now(), "done": "", "finished": 0}
        recounts.write_round(progress)
    for project in rules.list_all():
        if project.name <= progress["done"]:
            continue
        done = recount(project, has_time) if has_time() else None
        if done is None:
            return
        progress = {**progress, "done": project.name}
        recounts.write_round(progress)
        yield done
    recounts.write_round({**progress, "finished": now()})


def _pages(project: Project, state: Recount) -> Iterator[Recount]:
    """Do a page at a time: how far it has come after each."""
    read = state
    if not state.are_manifests_done:
        for read in _manifest_pages(project, state):
            yield read
    yield from _charge_pages(project, replace(read, are_manifests_done=True))


def _manifest_pages(project: Project, state: Recount) -> Iterator[Recount]:
    for repository in repositories.names_of(project.name, state.repository):
        if repository == state.repository and not state.manifest:
            continue
        after = state.manifest if repository == state.repository else ""
        while True:
            page, after = manifest_table.read_page(repository, after, _MANIFESTS_A_PAGE)
            charged = state.charged + _charge_page(project, repository, page)
            state = replace(state, repository=repository, manifest=after, charged=charged)
            yield state
            if not after:
                break


def _charge_pages(project: Project, state: Recount) -> Iterator[Recount]:
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        for shard in range(state.shard, usage.SHARDS):
            after = state.charge if shard == state.shard else ""
            while True:
                found, after = usage.read_page(project.project_id, shard, after, _CHARGES_A_PAGE)
                freed = sum(pool.map(lambda charge: _freed(project, charge), found))
                state = replace(state, shard=shard if after else shard + 1, charge=after, freed=state.freed + freed)
                yield state
                if not after:
                    break


def _charge_page(project: Project, repository: str, page: dict[str, Stored]) -> int:
    """Charge what manifests name and the project is not charged for; how many bytes that is."""
    sizes: dict[str, int] = {}
    own_edges = []
    for digest, stored in page.items():
        content = stored.content or blobstore.get(manifest_table.object_key(stored.generation))
        if content is None:
            continue  # deleted or pushed again since the page was read, with its object
        sizes[digest] = len(content)
        own_edges.append(Edge(charges.charge_edge_key(repository, digest), repository, digest, stored.generation, 0))
        references = manifests.stored(content, stored.media_type).references
        sizes |= blob_table.read_sizes(repository, references)
    # What older versions pushed has none. Made before the charge, so that it is found held; of time 0, so that it
    # counts only while its generation is the manifest's.
    blob_table.write_edges(blob_table.missing(own_edges))
    known = usage.read_charges(project.project_id, sizes)
    total = 0
    for digest, size in sizes.items():
        if digest not in known and usage.charge(project.project_id, {digest: size}, [usage.any_shard(size, -size)]):
            total += size
            charges.free(repository, [digest])  # unless it is named: a delete may have come between
    return total


def _freed(project: Project, charge: Charge) -> int:
    return charge.size if charges.free_unless_held(project, charge) else 0


def _settled(project: Project, state: Recount) -> Recount:
    """Compare the totals with the charges and the limit, and correct them, unless they keep changing meanwhile."""
    number = project.project_id
    for _ in retrying.attempts(retrying.LOW):
        current = rules.get(project.name)
        totals = usage.read_totals([number])[number]
        charged = _sum_of_charges(number)
        limit = 0 if current.storage_limit == UNLIMITED else current.storage_limit
        used_off = charged - sum(total.used for total in totals)
        room_off = limit - charged - sum(total.room for total in totals)
        if not used_off and not room_off:
            return replace(state, is_settled=True)
        changes = [
            Adjustment(total.shard, used_off if first else 0, room_off if first else 0, changes=total.changes)
            for first, total in zip([True] + [False] * len(totals), totals, strict=False)
        ]
        if project_table.adjust_usage(current, changes):
            return replace(state, is_settled=True, corrected=used_off)
    return state


def _forget_unreferenced(project: Project, last: int) -> int:
    """Take off what was unreferenced last time too, or all that is too little. Returns what is left, in bytes."""
    totals = usage.read_totals([project.project_id])[project.project_id]
    counted = sum(total.unreferenced for total in totals)
    forgotten = min(counted, max(last, 0))
    if forgotten:
        usage.add_unreferenced(project.project_id, -forgotten)
    return counted - forgotten


def _sum_of_charges(project_id: int) -> int:
    total = 0
    for shard in range(usage.SHARDS):
        after, more = "", True
        while more:
            page, after = usage.read_page(project_id, shard, after, 0)
            total += sum(charge.size for charge in page)
            more = bool(after)
    return total


def _used(project: Project) -> int:
    totals = usage.read_totals([project.project_id])[project.project_id]
    return sum(total.used for total in totals)


def _tell(state: Recount) -> None:
    report = asdict(state)
    measured("UsageCorrected", state.charged + state.freed + abs(state.corrected), project=state.project)
    logger.info("usage recounted", extra={name: report[name] for name in _TOLD})


_TOLD = ("project", "before", "after", "charged", "freed", "corrected", "is_settled", "started", "finished")
