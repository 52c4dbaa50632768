"""Harbor's own API client, from PyPI and unpatched, drives a running Berth through a project's life."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from harborapi import HarborAsyncClient
from harborapi.exceptions import Forbidden, NotFound
from harborapi.models import (
    Access,
    Label,
    ProjectMetadata,
    ProjectReq,
    QuotaUpdateReq,
    ResourceList,
    RetentionPolicy,
    RobotCreate,
    RobotPermission,
    Tag,
    UserCreationReq,
    UserGroup,
    WebhookPolicy,
    WebhookTargetObject,
)

from tests.bench.images import make_image
from tests.clients.conftest import Run, Server

PASSWORD = "Passw0rd-of-a-test"


def client(server: Server, name: str, password: str) -> HarborAsyncClient:
    return HarborAsyncClient(url=f"{server.url}/api/v2.0", username=name, secret=password)


def test_a_projects_life(server: Server, run: Run, tmp_path: Path) -> None:
    make_image(tmp_path / "image", 1 << 10)
    asyncio.run(_live(server, run, tmp_path / "image"))


async def _live(server: Server, run: Run, image: Path) -> None:
    suffix = os.urandom(6).hex()
    project, user = f"p{suffix}", f"dev{suffix}"
    admin = client(server, server.user, server.password)
    await admin.create_project(ProjectReq(project_name=project, metadata=ProjectMetadata(public="false")))
    number = (await admin.get_project(project)).project_id
    await admin.create_user(
        UserCreationReq(username=user, password=PASSWORD, email=f"{user}@example.com", realname="Developer", comment="")
    )
    developer = client(server, user, PASSWORD)
    with pytest.raises(Forbidden):
        await developer.get_project(project)
    await admin.add_project_member_user(project, user, 2)
    assert {member.entity_name for member in await developer.get_project_members(project)} == {server.user, user}

    target = f"docker://{server.registry}/{project}/team/app:v1"
    copy = ["copy", "--dest-tls-verify=false", f"dir:{image}", target, "--dest-creds"]
    robots = {
        name: await admin.create_robot(
            RobotCreate(
                name=name,
                level="project",
                duration=30,
                permissions=[
                    RobotPermission(
                        kind="project",
                        namespace=project,
                        access=[Access(resource="repository", action=action) for action in actions],
                    )
                ],
            )
        )
        for name, actions in {"puller": ["pull"], "pusher": ["pull", "push"]}.items()
    }
    for name, robot in robots.items():
        assert robot.name == f"robot${project}+{name}"
        run("skopeo", *copy, f"{robot.name}:{robot.secret}", fails=name == "puller")
    run("skopeo", *copy, f"{user}:{PASSWORD}")
    [repository] = await developer.get_repositories(project)
    assert (repository.name, repository.artifact_count) == (f"{project}/team/app", 1)
    await developer.create_artifact_tag(project, "team/app", "v1", Tag(name="stable"))
    assert [tag.name for tag in await developer.get_artifact_tags(project, "team/app", "v1")] == ["stable", "v1"]

    await admin.create_label(Label(name="checked", scope="p", project_id=number))
    [label] = await developer.get_labels(scope="p", project_id=number)
    await developer.add_artifact_label(project, "team/app", "v1", label)
    artifact = await developer.get_artifact(project, "team/app", "stable", with_label=True)
    assert [each.name for each in artifact.labels or []] == ["checked"]

    assert number is not None
    await _govern(admin, developer, project, number)
    with pytest.raises(Forbidden):
        await developer.delete_artifact(project, "team/app", "v1")
    await admin.delete_artifact(project, "team/app", "v1")
    with pytest.raises(NotFound):
        await admin.get_artifact(project, "team/app", "v1")
    await admin.delete_repository(project, "team/app")
    await admin.delete_project(project)
    assert not await admin.project_exists(project)


async def _govern(admin: HarborAsyncClient, developer: HarborAsyncClient, project: str, number: int) -> None:
    """What limits, cleans, tells of and records a project that holds the artifact v1 of team/app."""
    await admin.update_quota(number, QuotaUpdateReq(hard=ResourceList(root={"storage": 1 << 20})))
    quota = await admin.get_quota(number)
    hard, used = (each.root if each else None for each in (quota.hard, quota.used))
    assert hard == {"storage": 1 << 20}
    assert used is not None
    assert 0 < used["storage"] < 1 << 20

    target = WebhookTargetObject(type="http", address="https://hooks.example.com/berth")
    events = ["PUSH_ARTIFACT", "DELETE_ARTIFACT"]
    await admin.create_webhook_policy(
        project, WebhookPolicy(name="pushes", targets=[target], event_types=events, enabled=False)
    )
    [webhook] = await admin.get_webhook_policies(project)
    assert (webhook.name, sorted(webhook.event_types or [])) == ("pushes", sorted(events))
    with pytest.raises(Forbidden):
        await developer.get_webhook_policies(project)

    await admin.create_retention_policy(RetentionPolicy.model_validate(_retention(number)))
    retention = await admin.get_project_retention_id(project)
    assert retention is not None
    for dry_run in (True, False):
        await admin.start_retention_execution(int(retention), dry_run=dry_run)
        assert await _ended(admin, int(retention)) == ("Success", dry_run)
    assert [tag.name for tag in await developer.get_artifact_tags(project, "team/app", "v1")] == ["stable", "v1"]

    logs = await admin.get_audit_logs(query=f"resource=~{project}/team/app", limit=100)
    assert "create" in {log.operation for log in logs}
    group = f"group-{project}"
    await admin.create_usergroup(UserGroup(group_name=group, group_type=3))
    [found] = [each for each in await admin.get_usergroups() if each.group_name == group]
    assert found.id is not None
    await admin.delete_usergroup(found.id)
    with pytest.raises(NotFound):
        await admin.get_usergroup(found.id)


def _retention(number: int) -> dict[str, Any]:
    """The ten that were pushed last of everything, which are all there are."""
    return {
        "algorithm": "or",
        "scope": {"level": "project", "ref": number},
        "trigger": {"kind": "Schedule", "settings": {"cron": ""}, "references": {}},
        "rules": [
            {
                "action": "retain",
                "template": "latestPushedK",
                "params": {"latestPushedK": 10},
                "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**"}],
                "scope_selectors": {
                    "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
                },
            }
        ],
    }


async def _ended(admin: HarborAsyncClient, retention: int) -> tuple[str | None, bool | None]:
    """How the last execution has ended, and whether it only said what it would do."""
    for _ in range(300):
        latest = max(await admin.get_retention_executions(retention), key=lambda each: each.id or 0)
        if latest.status not in ("Running", "Pending", "InProgress"):
            return latest.status, latest.dry_run
        await asyncio.sleep(0.2)
    raise AssertionError("the execution did not end")
