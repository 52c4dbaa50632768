"""The kinds of jobs. Each has a state machine in infra/statemachines and a function that does its steps (app.py)."""

from __future__ import annotations

from chalicelib.auditing import collection
from chalicelib.jobs.records import Kind

GARBAGE_COLLECTION = Kind("GARBAGE_COLLECTION", "gc", tell=collection.ended)
PURGE_AUDIT_LOG = Kind("PURGE_AUDIT_LOG", "purge-audit-log", is_exclusive=False)
RETENTION = Kind("RETENTION", "retention", is_exclusive=False)
PROXY_REFRESH = Kind("PROXY_REFRESH", "proxy-refresh")
"""Berth's own: of a project, whose number is the vendor id."""


KINDS = {kind.vendor_type: kind for kind in (GARBAGE_COLLECTION, PURGE_AUDIT_LOG, RETENTION, PROXY_REFRESH)}
"""By Harbor's vendor type (src/jobservice/job/known_jobs.go)."""
