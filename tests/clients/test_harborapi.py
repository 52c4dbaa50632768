"""Harbor's own API client, from PyPI and unpatched, drives a running Berth through a project's life."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from harborapi import HarborAsyncClient
from harborapi.exceptions import Forbidden, NotFound
from harborapi.models import (
    Access,
    Label,
    ProjectMetadata,
    ProjectReq,
    RobotCreate,
    RobotPermission,
    Tag,
    UserCreationReq,
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

    with pytest.raises(Forbidden):
        await developer.delete_artifact(project, "team/app", "v1")
    await admin.delete_artifact(project, "team/app", "v1")
    with pytest.raises(NotFound):
        await admin.get_artifact(project, "team/app", "v1")
    await admin.delete_repository(project, "team/app")
    await admin.delete_project(project)
    assert not await admin.project_exists(project)
