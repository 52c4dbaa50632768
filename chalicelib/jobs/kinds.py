"""The kinds of jobs. Each has a state machine in infra/statemachines and a function that does its steps (app.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.gc import events
from chalicelib.jobs.records import Execution, Kind


def _account(execution: Execution) -> Mapping[str, Any]:
    from chalicelib.gc import runs  # noqa: PLC0415 -- it imports this module, as all do that start jobs

    return runs.account(execution, runs.progress(execution))


GARBAGE_COLLECTION = Kind("GARBAGE_COLLECTION", "gc", tell=events.ended, account=_account)
PURGE_AUDIT_LOG = Kind("PURGE_AUDIT_LOG", "purge-audit-log", is_exclusive=False)
RETENTION = Kind("RETENTION", "retention", is_exclusive=False)
PROXY_REFRESH = Kind("PROXY_REFRESH", "proxy-refresh")
"""Berth's own: of a project, whose number is the vendor id."""
REPOSITORY_DELETION = Kind("REPOSITORY_DELETION", "repository-deletion")
"""Berth's own: of a repository, whose number is the vendor id (oci/names.py)."""


KINDS = {
    kind.vendor_type: kind
    for kind in (GARBAGE_COLLECTION, PURGE_AUDIT_LOG, RETENTION, PROXY_REFRESH, REPOSITORY_DELETION)
}
"""By Harbor's vendor type (src/jobservice/job/known_jobs.go)."""
