"""Vulnerabilities that are let pass, of the system and of a project, until their time is over.

The rules are Harbor's (src/pkg/allowlist, src/controller/project): a project has a list of its own, empty at first, and
goes by the system's while its setting `reuse_sys_cve_allowlist` says so. Scans ask `in_force`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from chalicelib.projects.errors import AllowlistInvalidError
from chalicelib.projects.records import Project
from chalicelib.projects.store import allowlists as table
from chalicelib.projects.store.allowlists import Allowlist
from chalicelib.storage.conditions import now

SYSTEM = 0
"""What the system's list has for a project."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
"""Of a vulnerability, whoever keeps the register: CVE-2024-3094, GHSA-rxwq-x6h5-x525, RHSA-2024:1234."""
_LIMIT = 2000
_LAST = 2**40
"""Seconds: far beyond any year that a client can show."""


def read(project_id: int) -> Allowlist:
    return read_all([project_id])[project_id]


def read_all(project_ids: Iterable[int]) -> dict[int, Allowlist]:
    """The lists of these projects; what was never set is empty, and does not end."""
    numbers = list(project_ids)
    found = table.read(numbers)
    return {number: found.get(number) or Allowlist(number, (), None, 0, 0) for number in numbers}


def check(ids: Sequence[str], expires: int | None) -> None:
    """Raises AllowlistInvalidError for what cannot be a list."""
    if len(ids) > _LIMIT:
        raise AllowlistInvalidError(f"an allowlist has at most {_LIMIT} entries")
    for each in ids:
        if not _ID.match(each):
            raise AllowlistInvalidError(f"{each[:64]!r} is no vulnerability's id")
    if len(set(ids)) != len(ids):
        raise AllowlistInvalidError("duplicate CVE ID in the allowlist")
    if expires is not None and not 0 <= expires < _LAST:
        raise AllowlistInvalidError("expires_at is in seconds since 1970")


def replace(project_id: int, ids: Sequence[str], expires: int | None) -> None:
    """Set a list; the last writer wins. `expires` is in seconds since 1970. Raises as `check` does."""
    check(ids, expires)
    present = now()
    created = read(project_id).created or present
    table.write(Allowlist(project_id, tuple(ids), expires, created, present))


def in_force(project: Project) -> frozenset[str]:
    """The vulnerabilities that are let pass in `project` now: none when its list's time is over."""
    by_system = project.metadata.get("reuse_sys_cve_allowlist", "true") == "true"
    found = read(SYSTEM if by_system else project.project_id)
    is_over = found.expires is not None and found.expires <= time.time()
    return frozenset() if is_over else frozenset(found.ids)
