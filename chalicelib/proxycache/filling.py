"""Having blobs of a proxy project fetched from its upstream registry, and learning what has become of it.

A state machine fetches the blobs of a manifest side by side (proxycache/steps.py). Whoever needs one that is not there
asks for it as often as it likes: an execution is started only for what nobody is at, and what could not be had is left
alone for a while. Those who wait look at the request, and at the repository.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from chalicelib.oci.errors import (
    BlobUnknown,
    QuotaExceeded,
    RegistryError,
    TooManyRequests,
    Unavailable,
    UpstreamFailed,
)
from chalicelib.oci.names import project_of
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from chalicelib.proxycache import traffic
from chalicelib.proxycache.store import fills as table
from chalicelib.proxycache.store.fills import Failure, FillRequest, Request
from chalicelib.registry.store import blobs as blob_table
from chalicelib.storage import reads, workflows
from chalicelib.storage.aws_json import RefusedError
from chalicelib.storage.conditions import new_id, now

MACHINE = "proxy-fill"

ASKED_SECONDS = 20
"""How long a request is taken to be attended to without a sign of it."""

CONNECTIONS = "max_upstream_conn"
"""The project's setting: connections that the blobs of an artifact may take; -1 or none is no limit (swagger)."""

LANES = 6
"""Functions that fetch the blobs of one manifest side by side (infra/statemachines/proxy-fill.asl.json)."""
_LANE_BYTES = 128 << 20
"""What is worth a function of its own: it takes seconds to move so much, and one to start."""
_ALL_CONNECTIONS, _MOST_CONNECTIONS = 24, 12
"""Of all lanes, and of one, unless the project has a limit."""

_BATCH_SIZE = 1000
"""Blobs of one execution: its input has 256 KiB at most (Step Functions quota), and a sha512 has 139 bytes of it."""

_ERRORS: dict[str, type[RegistryError]] = {
    "unknown": BlobUnknown,
    "limited": TooManyRequests,
    "denied": QuotaExceeded,
    "failed": UpstreamFailed,
    "wrong": UpstreamFailed,
}
"""What those who wait are told, by the kind of a Failure."""


@dataclass(frozen=True)
class Filling:
    """Whether a blob is being fetched; or why it could not be, for as long as it is not tried again."""

    is_running: bool
    error: RegistryError | None = None


def ensure(repository: str, digests: Collection[str], registry: int, sizes: Mapping[str, int] | None = None) -> None:
    """Have those of `digests` fetched that are neither there nor on their way.

    `sizes`, as far as they are known, let the work be shared out well. Raises Unavailable.
    """
    wanted = list(_missing([FillRequest(repository, registry, digest) for digest in digests]).items())
    for start in range(0, len(wanted), _BATCH_SIZE):
        _start(repository, registry, dict(wanted[start : start + _BATCH_SIZE]), sizes or {})


def _start(
    repository: str, registry: int, wanted: Mapping[FillRequest, Request | None], sizes: Mapping[str, int]
) -> None:
    """Start an execution for those of `wanted` that nobody else is at since they were read."""
    execution = new_id()
    claimed = table.claim(wanted, execution, now() + ASKED_SECONDS * 1000)
    if not claimed:
        return
    project = rules.find(project_of(repository))
    lanes, connections = _shared_out(project, [each.digest for each in claimed], sizes)
    state = {"repository": repository, "registry": registry, "lanes": lanes, "connections": connections}
    try:
        workflows.start(MACHINE, execution, state)
    except (Unavailable, RefusedError):
        table.withdraw(claimed, execution)
        raise
    if project is not None:
        traffic.count_fill(project.project_id, len(claimed), sum(sizes.get(each.digest, 0) for each in claimed))


def state(repository: str, digest: str, registry: int) -> Filling:
    """What has become of a request. When it is neither running nor in error, nobody is at it: `ensure` it."""
    key = table.request_key(FillRequest(repository, registry, digest))
    item = reads.get_item(key)
    request = table.to_request(item) if item else None
    if request is None or request.until < now():
        return Filling(False)
    if request.failure is None:
        return Filling(True)
    return Filling(False, _error(request.failure, request.until))


def _error(failure: Failure, until: int) -> RegistryError:
    headers = {}
    if failure.retry_after:
        headers["Retry-After"] = str(max(1, (until - now()) // 1000))
    return _ERRORS[failure.kind](failure.message, headers=headers)


def _missing(wanted: Iterable[FillRequest]) -> dict[FillRequest, Request | None]:
    """Those that are to be fetched, with their requests as they were read."""
    keys = {
        each: (
            blob_table.blob_key(each.digest),
            blob_table.link_key(each.repository, each.digest),
            table.request_key(each),
        )
        for each in wanted
    }
    found = reads.get_items(key for triple in keys.values() for key in triple)
    missing = {}
    running: dict[str, bool] = {}
    for each, (blob, link, request_key) in keys.items():
        if blob in found and link in found and found[blob]["object_key"] == found[link]["object_key"]:
            continue
        request = table.to_request(found[request_key]) if request_key in found else None
        if request is None or (request.until < now() and not _is_attended(each, request, running)):
            missing[each] = request
    return missing


def _is_attended(wanted: FillRequest, request: Request, running: dict[str, bool]) -> bool:
    """Whether the execution of a request that shows no sign of life is under way all the same: it has much to do."""
    if request.failure is not None:
        return False
    execution = request.execution
    if execution not in running:
        running[execution] = workflows.status(MACHINE, execution) == workflows.RUNNING
    if running[execution]:
        table.renew(wanted, execution, now() + ASKED_SECONDS * 1000)
    return running[execution]


def _shared_out(project: Project | None, digests: list[str], sizes: Mapping[str, int]) -> tuple[list[list[str]], int]:
    """What each lane is to fetch, largest first to whoever has least, and how many connections each may have."""
    limit = int(project.metadata.get(CONNECTIONS) or -1) if project else -1
    most = min(LANES, limit) if limit > 0 else LANES
    if all(digest in sizes for digest in digests):
        most = min(most, 1 + sum(sizes[digest] for digest in digests) // _LANE_BYTES)
    lanes: list[list[str]] = [[] for _ in range(min(most, len(digests)))]
    loads = [0] * len(lanes)
    for digest in sorted(digests, key=lambda each: -sizes.get(each, 0)):
        lane = loads.index(min(loads))
        lanes[lane].append(digest)
        loads[lane] += sizes.get(digest, 0) + 1
    connections = limit // len(lanes) if limit > 0 else min(_MOST_CONNECTIONS, _ALL_CONNECTIONS // len(lanes))
    return lanes, max(1, min(connections, _MOST_CONNECTIONS))
