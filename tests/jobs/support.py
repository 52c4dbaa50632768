"""Executions waited for, and policies of tag retention to start them by."""

from __future__ import annotations

import time
from typing import Any

from chalicelib.jobs import executions
from chalicelib.jobs.records import Execution, Kind, Status, Trigger
from chalicelib.projects import rules as projects
from chalicelib.retention import rules
from chalicelib.retention import store as table
from chalicelib.retention.records import Policy

SECONDS = 240.0


def rule(template: str = "always", tags: str = "**", repositories: str = "**", **more: Any) -> dict[str, Any]:
    """The swagger's RetentionRule; a number is the template's."""
    number = more.pop("number", None)
    return {
        "priority": 0,
        "disabled": False,
        "action": "retain",
        "template": template,
        "params": {} if number is None else {template: number},
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": tags}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": repositories}]
        },
        **more,
    }


def policy_of(project: str, *documents: dict[str, Any]) -> Policy:
    """A new policy of the project's own."""
    policy = table.create(projects.get(project), rules.checked(list(documents)), "")
    assert policy is not None
    return policy


ALONE = Kind("RETENTION", "retention")
"""Retention as an exclusive job."""


def start(policy: Policy, *, occasion: str = "") -> Execution:
    extra = {"dry_run": False}
    return executions.start(ALONE, policy.number, Trigger.MANUAL, operator="admin", extra=extra, occasion=occasion)


def wait(execution: Execution, seconds: float = SECONDS) -> Execution:
    """The execution once it is final."""
    deadline = time.monotonic() + seconds
    while True:
        current = executions.get(execution.number)
        if current.status.is_final:
            return current
        assert time.monotonic() < deadline, f"still {current.status}"
        time.sleep(0.1)


def wait_for(execution: Execution, status: Status, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while executions.get(execution.number).status is not status:
        assert time.monotonic() < deadline
        time.sleep(0.02)
