"""Policies of tag retention: one of a project at most, carried out when people or its schedule say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib import retrying
from chalicelib.jobs import cron as crons
from chalicelib.jobs import executions, kinds, schedules
from chalicelib.jobs.errors import ChangedError
from chalicelib.jobs.records import Execution, Kind, Trigger
from chalicelib.projects import rules as projects
from chalicelib.projects import selectors
from chalicelib.projects.errors import NotFoundError, RuleInvalidError, RuleNotFoundError
from chalicelib.projects.records import Project
from chalicelib.retention import rules as retention_rules
from chalicelib.retention import store as table
from chalicelib.retention.records import Policy
from chalicelib.retention.store import RETENTION_ID

RETENTION = kinds.register(Kind("RETENTION", "retention", is_exclusive=False))

_PROXY_CACHE_DAYS = 7
_DAILY = "0 0 0 * * *"


def get(number: int) -> Policy:
    """Raises RuleNotFoundError."""
    policy = table.read(number)
    if policy is None:
        raise RuleNotFoundError(f"no such Retention policy with id {number}")
    return policy


def create(project: Project, rules: Sequence[Mapping[str, Any]], cron: str) -> Policy:
    """Give a project its policy, with rules as retention/rules.py checked them; `cron` may be empty.

    Raises RuleInvalidError when it has one, jobs' ScheduleInvalidError, ChangedError, or NotFoundError.
    """
    _require_cron(cron)
    for _ in retrying.attempts(retrying.MEDIUM):
        if RETENTION_ID in project.metadata:
            number = project.metadata[RETENTION_ID]
            raise RuleInvalidError(f"project {project.project_id} already has retention policy {number}")
        policy = table.create(project, rules, cron)
        if policy is not None:
            _schedule(policy.number)
            return policy
        project = projects.get(project.name)
    raise ChangedError(f"the project {project.name} is being changed by others: try again")


def create_for_proxy_cache(project: Project) -> Policy:
    """Give a new proxy cache the policy that Harbor gives it: what was not pulled for a week goes, at midnight.

    Source: Harbor, src/pkg/retention/policy/models.go, WithNDaysSinceLastPull. Raises as `create` does.
    """
    rule = {
        "priority": 1,
        "action": retention_rules.RETAIN,
        "template": "nDaysSinceLastPull",
        "params": {"nDaysSinceLastPull": _PROXY_CACHE_DAYS},
        "tag_selectors": [{"kind": selectors.KIND, "decoration": "matches", "pattern": "**"}],
        "scope_selectors": {
            "repository": [{"kind": selectors.KIND, "decoration": "repoMatches", "pattern": "**"}],
        },
    }
    return create(project, retention_rules.checked([rule]), _DAILY)


def update(number: int, rules: Sequence[Mapping[str, Any]], cron: str) -> None:
    """Change a policy. Raises as `create` does, or RuleNotFoundError."""
    _require_cron(cron)
    for _ in retrying.attempts(retrying.MEDIUM):
        if table.replace(get(number), rules, cron):
            _schedule(number)
            return
    raise ChangedError(f"the retention policy {number} is being changed by others: try again")


def delete(policy: Policy) -> None:
    """Remove a policy with its schedule and its history. Raises ChangedError."""
    for _ in retrying.attempts(retrying.MEDIUM):
        try:
            project = projects.get_by_id(policy.project_id)
        except NotFoundError:
            forget(policy.number)
            return
        if table.delete(policy, project):
            forget(policy.number)
            return
    raise ChangedError(f"the project of the retention policy {policy.number} is being changed by others: try again")


def forget(number: int) -> None:
    """Remove what is left of a policy that its project does not name any more, or whose project is gone."""
    table.delete_orphan(number)
    _schedule(number)
    executions.forget(RETENTION, number)


def start(policy: Policy, trigger: Trigger, *, operator: str, is_dry_run: bool, occasion: str = "") -> Execution:
    """Carry a policy out. Raises as executions.start does."""
    extra = {"dry_run": is_dry_run}
    return executions.start(RETENTION, policy.number, trigger, operator=operator, extra=extra, occasion=occasion)


def _require_cron(cron: str) -> None:
    if cron:
        crons.parse(cron)


def _schedule(number: int) -> None:
    """Make the schedule what the policy says. Of two who change it at once, the last to do this has read the last."""
    for _ in retrying.attempts(retrying.MEDIUM):
        policy = table.read(number)
        if policy is not None and policy.cron:
            schedules.put(RETENTION, number, "Custom", policy.cron, {"dry_run": False})
        else:
            schedules.remove(RETENTION, number)
        if table.read(number) == policy:
            return
    raise ChangedError(f"the retention policy {number} is being changed by others: try again")
