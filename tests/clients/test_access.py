"""What clients may and may not, and what they are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.clients.conftest import Run, Server


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("skopeo", ["login", "--tls-verify=false"]),
        ("crane", ["auth", "login"]),
        ("oras", ["login", "--plain-http"]),
        ("buildah", ["login", "--tls-verify=false"]),
    ],
)
def test_a_login(server: Server, run: Run, tmp_path: Path, tool: str, arguments: list[str]) -> None:
    login = [*arguments, "-u", server.user, "--password-stdin", server.registry]
    run(tool, *login, stdin=server.password)
    if tool != "crane":  # which asks the registry nothing
        refused = run(tool, *login, fails=True, stdin="wrong")
        assert "unauthorized" in refused.lower() or "invalid username/password" in refused.lower()


def test_wrong_credentials_cannot_push(server: Server, run: Run, repository: str, image: tuple[Path, str]) -> None:
    target = f"docker://{repository}:1"
    source = f"oci:{image[0]}:latest"
    refused = run(
        "skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", f"{server.user}:no", source, target, fails=True
    )
    assert "invalid username/password" in refused or "unauthorized" in refused


def test_a_public_project_is_pulled_by_anyone(run: Run, repository: str, image: tuple[Path, str]) -> None:
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{image[0]}:latest", f"docker://{repository}:1")
    run("skopeo", "inspect", "--no-creds", "--tls-verify=false", f"docker://{repository}:1")
    refused = run("skopeo", "delete", "--no-creds", "--tls-verify=false", f"docker://{repository}:1", fails=True)
    assert "401 Unauthorized" in refused


def test_a_private_project_is_as_one_that_is_missing(server: Server, run: Run, image: tuple[Path, str]) -> None:
    private, missing = server.make_project(public=False), f"p{os.urandom(6).hex()}"
    target = f"docker://{server.registry}/{private}/app:1"
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{image[0]}:latest", target)
    answers = [
        run(
            "skopeo",
            "inspect",
            "--no-creds",
            "--tls-verify=false",
            f"docker://{server.registry}/{name}/app:1",
            fails=True,
        )
        for name in (private, missing)
    ]
    assert "unauthorized" in answers[0]
    assert answers[0].split("level=")[1].replace(private, "") == answers[1].split("level=")[1].replace(missing, "")


def test_a_missing_project_is_named(server: Server, run: Run, image: tuple[Path, str]) -> None:
    missing = f"p{os.urandom(6).hex()}"
    target = f"docker://{server.registry}/{missing}/app:1"
    refused = run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{image[0]}:latest", target, fails=True)
    assert f"project {missing} does not exist" in refused
