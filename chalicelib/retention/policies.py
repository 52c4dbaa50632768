"""Policies of tag retention: one of a project at most, carried out when people or its schedule say so."""

from __future__ import annotations

from chalicelib.jobs import executions
from chalicelib.jobs.kinds import RETENTION
from chalicelib.jobs.records import Execution, Trigger
from chalicelib.projects.errors import RuleNotFoundError
from chalicelib.retention.records import Policy
from chalicelib.storage import retentions as table

_ATTEMPTS = 4


def get(number: int) -> Policy:
    """Raises RuleNotFoundError."""
    policy = table.read(number)
    if policy is None:
        raise RuleNotFoundError(f"no such Retention policy with id {number}")
    return policy


def start(policy: Policy, trigger: Trigger, *, operator: str, is_dry_run: bool, occasion: str = "") -> Execution:
    """Carry a policy out, as it is now. Raises as executions.start does."""
    extra = {"dry_run": is_dry_run, "project_id": policy.project_id, "rules": list(policy.rules)}
    return executions.start(RETENTION, policy.number, trigger, operator=operator, extra=extra, occasion=occasion)
