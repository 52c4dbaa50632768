"""The steps of a retention execution (infra/statemachines/retention.asl.json): a task for each repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.events.records import Event as AuditEvent
from chalicelib.jobs import executions, steps
from chalicelib.jobs.records import Execution, Status, Task
from chalicelib.jobs.steps import StepInput
from chalicelib.jobs.store import tasks
from chalicelib.projects import rules as projects
from chalicelib.projects.records import Project
from chalicelib.registry.store import repositories
from chalicelib.retention import cleaning, events, policies, rules
from chalicelib.retention.cleaning import Outcome
from chalicelib.retention.policies import RETENTION

_PAGE = 1000

_TOLD_OF_RULES = ("template", "params", "tag_selectors", "scope_selectors")
_REFERENCES = 5
"""Tags of a deleted artifact that webhooks are told."""


def run(event: StepInput) -> dict[str, Any]:
    """The Lambda's whole work. Raises StoppedError when the execution is over."""
    return dict(steps.run(RETENTION, event, {"plan": _plan, "work": _work}))


def _plan(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    """Write the tasks of one page of the project's repositories, those that a rule is for.

    The rules are the policy's when the execution begins: it keeps them, whatever the policy becomes meanwhile.
    """
    cursor, following = event["plan"]["cursor"], event["plan"]["next"]
    if "rules" not in execution.extra:
        policy = policies.get(execution.vendor_id)
        execution = executions.save_progress(execution, project_id=policy.project_id, rules=list(policy.rules))
    project = projects.get_by_id(execution.extra["project_id"])
    names, after = repositories.read_names(project.name, cursor, _PAGE)
    concerned = [name for name in names if rules.concerns(execution.extra["rules"], name.partition("/")[2])]
    following = tasks.create(execution.number, following, ({"repository": name} for name in concerned))
    return {"cursor": after, "next": following, "done": not after}


def _work(execution: Execution, event: StepInput) -> Mapping[str, Any]:
    return steps.work(execution, event, _clean)


def _clean(execution: Execution, task: Task) -> None:
    repository = task.extra["repository"]
    project = projects.get_by_id(execution.extra["project_id"])
    is_dry_run = bool(execution.extra["dry_run"])
    outcome = cleaning.clean(project, repository, execution.extra["rules"], is_dry_run=is_dry_run)
    tasks.write_log(task, outcome.log, part=task.run_count)
    told = {**task.extra, "total": outcome.total, "retained": outcome.retained}
    tasks.finish(task, Status.SUCCESS, extra=told, event=_finished(execution, project, repository, outcome))


def _finished(execution: Execution, project: Project, repository: str, outcome: Outcome) -> AuditEvent | None:
    """What webhooks are told. A task that was killed and is done again tells what was left to delete."""
    below = repository.partition("/")[2]
    detail = {
        "total": outcome.total,
        "retained": outcome.retained,
        "policy": execution.vendor_id,
        "rules": [{name: rule[name] for name in _TOLD_OF_RULES} for rule in execution.extra["rules"]],
    }
    deleted = [
        {
            "type": each.kind,
            "name_tag": f"{below}:{each.tags[0]}" if each.tags else "",
            "references": [*each.tags[:_REFERENCES], each.digest],
        }
        for each in outcome.deleted
    ]
    return events.finished(project, execution.trigger, detail, deleted)
