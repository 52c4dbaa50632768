"""Harbor's command line from PyPI, unpatched, drives a running Berth through a project's life.

It has no commands for robots and none that makes a label or a retention policy: those are made by the API here.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.bench.images import make_image
from tests.clients.conftest import Run, Server

PASSWORD = "Passw0rd-of-a-test"

Harbor = Callable[..., Any]


@pytest.fixture
def harbor(server: Server, tmp_path: Path) -> Harbor:
    """Run a command that has to succeed, and return the JSON that it printed, if any."""
    # It takes CI and apt's variable for the sign that nobody can be asked, and then not even --force will do.
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "DEBIAN_FRONTEND")}
    login = ["--url", f"{server.url}/api/v2.0", "--username", server.user, "--secret", server.password]
    config = tmp_path / "harbor-cli.toml"
    config.write_text("[general]\nwarnings = false\n")

    def call(*arguments: str) -> Any:
        command = ["harbor", "--config", str(config), *login, "--format", "json", *arguments]
        finished = subprocess.run(
            command,
            env={**kept, "HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return json.loads(finished.stdout) if finished.stdout.strip() else None

    return call


def test_a_projects_life(server: Server, run: Run, harbor: Harbor, tmp_path: Path) -> None:
    project, user = f"p{os.urandom(6).hex()}", f"dev{os.urandom(6).hex()}"
    harbor("project", "create", project, "--storage-limit", "1000000")
    harbor("user", "create", user, "--password", PASSWORD, "--email", f"{user}@example.com", "--realname", "Developer")
    harbor("project", "member", "add-user", project, user, "developer")

    make_image(tmp_path / "image", 1 << 10)
    target = f"docker://{server.registry}/{project}/app:v1"
    run(
        "skopeo",
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        f"{user}:{PASSWORD}",
        f"dir:{tmp_path}/image",
        target,
    )
    assert [found["name"] for found in harbor("repository", "list", project)] == [f"{project}/app"]
    assert _tags(harbor, project) == {"v1"}
    harbor("artifact", "tag", "create", f"{project}/app:v1", "stable")

    policy = _make_retention(server, project)
    assert harbor("retention", "policy", "id", project) == policy
    harbor("retention", "job", "start", project)
    deadline = time.monotonic() + 60
    while [job["status"] for job in harbor("retention", "job", "list", project)] != ["Success"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert _tags(harbor, project) == {"v1", "stable"}

    harbor("artifact", "delete", f"{project}/app:stable", "--force")
    harbor("repository", "delete", project, "app", "--force")
    harbor("project", "delete", project, "--force")
    assert project not in {found["name"] for found in harbor("project", "list")}


def _tags(harbor: Harbor, project: str) -> set[str]:
    """Of the one artifact of the project."""
    [found] = harbor("artifact", "list", "--project", project)
    return {tag["name"] for tag in found["artifact"]["tags"]}


def _make_retention(server: Server, project: str) -> int:
    """A policy that keeps the image last pushed; its number."""
    number = server.get(f"/api/v2.0/projects/{project}").json()["project_id"]
    rule = {
        "action": "retain",
        "template": "latestPushedK",
        "params": {"latestPushedK": 1},
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    }
    policy = {
        "algorithm": "or",
        "scope": {"level": "project", "ref": number},
        "trigger": {"kind": "Schedule", "settings": {"cron": ""}},
        "rules": [rule],
    }
    url = f"{server.url}/api/v2.0/retentions"
    answer = requests.post(url, json=policy, auth=(server.user, server.password), timeout=30)
    assert answer.status_code == 201, answer.text
    return int(answer.headers["Location"].rpartition("/")[2])
