"""The kinds of jobs, each registered by the capability that owns it.

A kind has a state machine in infra/statemachines and a function that does its steps (app.py). A process knows the kinds
whose owners it has imported; importing chalicelib/job_kinds.py makes all of them known.
"""

from __future__ import annotations

from chalicelib.jobs.records import Kind

KINDS: dict[str, Kind] = {}
"""By Harbor's vendor type (src/jobservice/job/known_jobs.go)."""


def register(kind: Kind) -> Kind:
    """Make a kind of job known. Returns it."""
    KINDS[kind.vendor_type] = kind
    return kind
