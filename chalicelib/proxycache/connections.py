"""How many requests a project's pulls may have at its upstream registry at once: Harbor's `max_upstream_conn`.

All containers count together. As in Harbor (src/server/middleware/repoproxy/proxy.go) what is too many is answered as
if upstream limited requests: by the local copy, else by 429. A fill keeps to the limit by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.observability import logger
from chalicelib.oci.errors import Unavailable
from chalicelib.projects.records import Project
from chalicelib.proxycache import traffic
from chalicelib.proxycache.store import connections as table
from chalicelib.upstreams.errors import ConnectionsTaken

LIMIT = "max_upstream_conn"
"""The project's setting; -1 or none is no limit."""

_HELD_SECONDS = 25.0
_WAIT_SECONDS = 4.0
_PAUSE = 0.2


@contextmanager
def held(project: Project) -> Iterator[None]:
    """Have one of the project's connections in the context, for a request that is counted.

    Raises ConnectionsTaken when none gets free in time.
    """
    limit = int(project.metadata.get(LIMIT, "-1"))
    if limit <= 0:
        traffic.count_upstream(project.project_id)
        yield
        return
    number, holder = _take(project.project_id, limit)
    try:
        traffic.count_upstream(project.project_id)
        yield
    finally:
        try:
            table.leave(project.project_id, number, holder)
        except Unavailable:  # the place gets free by itself; what upstream has sent is not lost for it
            logger.warning("a connection's place was not given back", extra={"project": project.name})


def _take(project_id: int, limit: int) -> tuple[int, str]:
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        place = table.take(project_id, limit, _HELD_SECONDS)
        if place is not None:
            return place
        time.sleep(_PAUSE)
    raise ConnectionsTaken("too many requests to upstream registry", retry_after=1)
