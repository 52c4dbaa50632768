"""Job functions need no more of DynamoDB than their policies give: MiniStack does not ask, and these run in it."""

from __future__ import annotations

from typing import Any

from chalicelib.artifacts import labels, repository_deletion_steps
from chalicelib.artifacts.labels import attach
from chalicelib.artifacts.repositories import artifact
from chalicelib.artifacts.repository_deletion import REPOSITORY_DELETION
from chalicelib.auditing import purge_steps
from chalicelib.auditing.purging import PURGE_AUDIT_LOG
from chalicelib.events.records import JOBS
from chalicelib.jobs import schedules
from chalicelib.jobs.records import SYSTEM, Status, Trigger
from chalicelib.jobs.store import executions as table
from chalicelib.jobs.store import tasks
from chalicelib.oci import manifests
from chalicelib.oci.names import number_of
from chalicelib.projects import rules as projects
from chalicelib.registry import push
from chalicelib.registry.store import repositories
from chalicelib.retention import steps
from chalicelib.retention.policies import RETENTION
from chalicelib.storage.conditions import now
from infra.policies import (
    purge_statements,
    repository_deletion_statements,
    retention_statements,
    scheduled_job_statements,
)
from tests.infra import iam
from tests.jobs.support import policy_of, rule
from tests.jobs.test_schedules import set_long_ago
from tests.registry.accessories import attach as attach_signature
from tests.registry.images import index, push_image


def test_retention(cloud: dict[str, str], project: str, repository: str) -> None:
    digest, _ = push_image(repository, "v1")
    push_image(repository, "v2")
    number = labels.create(projects.get(project).project_id, "scanned", "", "").number
    attach(number, projects.get(project).project_id, artifact(repository, digest))
    policy = policy_of(project, rule("latestPushedK", number=1))
    execution = table.create(RETENTION, policy.number, Trigger.MANUAL, "", {"dry_run": False}, "")
    assert execution is not None
    event: dict[str, Any] = {"execution": execution.number, "plan": {"cursor": "", "next": 1}, "position": 0}
    with iam.recorded() as called:
        steps.run({**event, "step": "plan"})
        for worker in range(8):
            steps.run({**event, "step": "work", "worker": worker})
        steps.run({**event, "step": "finish"})
    [task] = tasks.read_all(execution.number)
    assert (task.status, task.extra["retained"]) == (Status.SUCCESS, 1)
    assert called <= iam.actions_of(retention_statements(), cloud)


def test_deletions_of_repositories(cloud: dict[str, str], project: str, repository: str) -> None:
    digest, content = push_image(repository, "v1")
    push.manifest(repository, "multi", index(content), manifests.OCI_INDEX)
    attach_signature(repository, digest)
    told = {"repository": repository, "until": now(), "actor": vars(JOBS)}
    execution = table.create(REPOSITORY_DELETION, number_of(repository), Trigger.MANUAL, "", told, "")
    assert execution is not None
    event: dict[str, Any] = {"execution": execution.number, "progress": {"slice": 0, "done": False}}
    with iam.recorded() as called:
        assert repository_deletion_steps.run({**event, "step": "delete"})["done"]
        repository_deletion_steps.run({**event, "step": "finish"})
    assert repositories.read(repository) is None
    assert called <= iam.actions_of(repository_deletion_statements(), cloud)


def test_scheduled_jobs(cloud: dict[str, str], project: str) -> None:
    policy = policy_of(project, rule())
    schedules.put(RETENTION, policy.number, "Custom", "0 * * * * *", {"dry_run": True})
    set_long_ago(policy)
    with iam.recorded() as called:
        assert schedules.run({"vendor_type": "RETENTION", "vendor_id": policy.number}) is not None
        schedules.run({"vendor_type": "RETENTION", "vendor_id": policy.number + 100_000})
    assert called <= iam.actions_of(scheduled_job_statements(), cloud)
    schedules.remove(RETENTION, policy.number)


def test_purges(cloud: dict[str, str], project: str) -> None:
    told = {"audit_retention_hour": 0, "include_event_types": ["create_project"], "dry_run": False}
    execution = table.create(PURGE_AUDIT_LOG, SYSTEM, Trigger.MANUAL, "", told, "")
    assert execution is not None
    progress: Any = {"slice": 0, "cursor": "", "deleted": 0, "done": False}
    with iam.recorded() as called:
        while not progress["done"]:
            progress = purge_steps.run({"step": "purge", "execution": execution.number, "progress": progress})
        purge_steps.run({"step": "finish", "execution": execution.number})
    assert called <= iam.actions_of(purge_statements(), cloud)
