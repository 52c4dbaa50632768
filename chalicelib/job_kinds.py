"""All kinds of jobs: to import this makes them known (jobs/kinds.py)."""

from __future__ import annotations

from chalicelib.artifacts.repository_deletion import REPOSITORY_DELETION
from chalicelib.auditing.purging import PURGE_AUDIT_LOG
from chalicelib.gc.runs import GARBAGE_COLLECTION
from chalicelib.proxycache.refreshes import PROXY_REFRESH
from chalicelib.retention.policies import RETENTION

ALL = (GARBAGE_COLLECTION, PURGE_AUDIT_LOG, RETENTION, PROXY_REFRESH, REPOSITORY_DELETION)
