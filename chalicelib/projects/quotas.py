"""Quotas: how much a project may store, and whether more still fits.

What counts is chalicelib/registry/charges.py's. A project's sum and what is left of its limit are kept in several
totals (projects/store/usage.py). A push takes its bytes out of one that has the room, on the condition that it
still has it; when none has enough alone, out of several in the same transaction. So a limit holds exactly, however
many push at once, and they meet at one item only when the project is nearly full. Source of rules and words: Harbor,
src/controller/quota and src/pkg/quota.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from chalicelib import retrying
from chalicelib.oci.errors import QuotaExceeded
from chalicelib.oci.names import project_of
from chalicelib.projects import rules
from chalicelib.projects.errors import ChangedError, LimitInvalidError
from chalicelib.projects.records import UNLIMITED, Project
from chalicelib.projects.store import projects as project_table
from chalicelib.projects.store import usage
from chalicelib.projects.store.usage import Adjustment, Total
from chalicelib.storage import reads

LIMIT = 1 << 50
"""The largest limit that can be set, in bytes: a pebibyte. JSON readers hold it, and sums of it, exactly."""

UNREFERENCED_LIMITS = 2
"""How many times its limit a project may store beside what it is charged for: uploads, and blobs that nothing names.

More than once, since what a project deletes counts here until it is collected: it can be filled anew meanwhile.
"""

_UNIT = 1024


def valid(limit: int) -> int:
    """`limit` itself, if a project can have it. Raises LimitInvalidError."""
    if limit != UNLIMITED and not 0 < limit <= LIMIT:
        raise LimitInvalidError(f"invalid value for resource storage: use -1 for no limit, or 1 to {LIMIT} bytes")
    return limit


def set_limit(project_id: int, limit: int) -> None:
    """Change how much a project may store; less than it does store is allowed, and pushes are refused then.

    Raises LimitInvalidError, NotFoundError, or ChangedError when others keep changing the project.
    """
    valid(limit)
    for _ in retrying.attempts(retrying.HIGH):
        project = rules.get_by_id(project_id)
        if project.storage_limit == limit or project_table.set_storage_limit(project, limit):
            rules.forget(project.name)
            return
    raise ChangedError(f"the project {project_id} is being changed by others: try again")


def plan(limit: int, totals: Sequence[Total], size: int) -> tuple[Adjustment, ...]:
    """How the totals of a project change when `size` bytes more are charged. Raises QuotaExceeded.

    `totals` may be empty when there is no limit.
    """
    if not size:
        return ()
    if limit == UNLIMITED:
        return (usage.any_shard(size, -size),)
    require(limit, totals, size)
    room = sum(total.room for total in totals)
    fitting = [total for total in totals if total.room >= size]
    crowded = len(fitting) < usage.SHARDS // 2 and room // usage.SHARDS >= size
    if crowded or any(total.room < 0 for total in totals):
        return _levelled(totals, size)
    if fitting:
        return (Adjustment(random.choice(fitting).shard, size, -size, least=size),)  # noqa: S311 -- see anywhere
    return _gathered(totals, size)


def require(limit: int, totals: Sequence[Total], size: int) -> None:
    """Raises QuotaExceeded when `size` bytes more do not fit."""
    if limit != UNLIMITED and size > sum(total.room for total in totals):
        used = sum(total.used for total in totals)
        raise QuotaExceeded(
            f"adding {displayed(size)} of storage resource, which when updated to current usage of {displayed(used)} "
            f"will exceed the configured upper limit of {displayed(limit)}."
        )


def require_unreferenced(limit: int, totals: Sequence[Total], size: int) -> None:
    """Raises QuotaExceeded when `size` bytes more are too many beside what is charged (registry/unreferenced.py)."""
    stored = max(0, sum(total.unreferenced for total in totals))
    if limit != UNLIMITED and size > 0 and stored + size > UNREFERENCED_LIMITS * limit:
        raise QuotaExceeded(
            f"adding {displayed(size)} of storage resource, which when added to {displayed(stored)} of unfinished "
            f"uploads and of blobs that no manifest names will exceed {displayed(UNREFERENCED_LIMITS * limit)}: finish "
            "or cancel uploads, or have garbage collected."
        )


def require_room(repository: str, size: int, digest: str = "", *, stored: int = 0) -> None:
    """Raises QuotaExceeded when a blob of `size` bytes does not fit the project, unless `digest` counts there already.

    The first `stored` bytes of it are stored, and counted as unreferenced. Early notice for a client that uploads: what
    a push may commit is decided with its manifest. A project without a limit costs no read.
    """
    project = rules.find(project_of(repository))
    if project is None or project.storage_limit == UNLIMITED:
        return
    try:
        _look(project, size, digest, stored)
    except QuotaExceeded:
        _look(project, size, digest, stored)  # a read of several items is no snapshot: what is refused was seen twice


def _look(project: Project, size: int, digest: str, stored: int) -> None:
    charge = [usage.charge_key(project.project_id, digest)] if digest else []
    found = reads.get_items([*charge, *usage.total_keys(project.project_id)])
    if charge and charge[0] in found:
        return
    totals = usage.to_totals(project.project_id, found)
    require(project.storage_limit, totals, size)
    require_unreferenced(project.storage_limit, totals, size - stored)


def displayed(size: int) -> str:
    """Bytes as Harbor writes them for people (src/pkg/quota/types/format.go): `512 B`, `1.5 GiB`."""
    if size < _UNIT:
        return f"{size} B"
    power = (size.bit_length() - 1) // 10
    return f"{size / _UNIT**power:.1f} {'KMGTPE'[power - 1]}iB"


def _levelled(totals: Sequence[Total], size: int) -> tuple[Adjustment, ...]:
    """Charge `size` and spread the room that is left over all totals alike.

    After a limit was changed, or many frees fell on one total, some have much and some less than nothing, which a look
    at one of them does not tell. Every one must be as it was read.
    """
    share, extra = divmod(sum(total.room for total in totals) - size, len(totals))
    return tuple(
        Adjustment(
            total.shard,
            used=size if index == 0 else 0,
            room=share + (index < extra) - total.room,
            changes=total.changes,
        )
        for index, total in enumerate(totals)
    )


def _gathered(totals: Sequence[Total], size: int) -> tuple[Adjustment, ...]:
    """Take `size` out of as few totals as possible, since none has it alone."""
    adjustments: list[Adjustment] = []
    missing = size
    for total in sorted(totals, key=lambda each: -each.room):
        taken = min(missing, total.room)
        if taken:
            adjustments.append(Adjustment(total.shard, used=taken, room=-taken, least=taken))
        missing -= taken
    return tuple(adjustments)
