"""The cloud that tests talk to: the deployed template on a MiniStack of this session's own.

The environment of the functions is set here, before any test imports chalicelib, which reads it on import. The cloud
itself starts with the first test that asks for it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

PROJECT = Path(__file__).resolve().parent.parent
ADMIN = "admin"
ADMIN_PASSWORD = "correct horse battery staple"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORT = free_port()
URL = f"http://127.0.0.1:{PORT}"

# The names that the template gives a stack's stores are fixed, so they are known before it is deployed.
_NAMES = {
    "BlobsTable": "berth-blobs",
    "RepositoriesTable": "berth-repositories",
    "UploadsTable": "berth-uploads",
    "ProjectsTable": "berth-projects",
    "AccountsTable": "berth-accounts",
    "EventsTable": "berth-events",
    "WebhookQueue": "known once deployed",
    "JobsTable": "berth-jobs",
    "StateMachines": "arn:aws:states:us-east-1:000000000000:stateMachine:berth-",
    "ScheduleGroup": "berth-jobs",
    "ScheduleTarget": "arn:aws:lambda:us-east-1:000000000000:function:berth-run-scheduled-job",
    "ScheduleRole": "known once deployed",
    "Bucket": "berth-000000000000-us-east-1",
    "SigningSecret": "known once deployed",
    "UploadSecret": "known once deployed",
    "AdminSecret": "known once deployed",
    "OidcSecret": "known once deployed",
    "EndpointSecrets": "berth-registry-",
}
_AWS = {
    "AWS_ENDPOINT_URL": URL,
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_EC2_METADATA_DISABLED": "true",
}
os.environ.update(_AWS)

from infra.deploy import deploy_local  # noqa: E402 -- after the environment of AWS clients
from infra.local.cloud import IN_TURN  # noqa: E402
from infra.local.durability import RECOVER_PATH  # noqa: E402
from infra.package import build_template_only  # noqa: E402
from infra.parameters import environment  # noqa: E402
from tests.infra import iam  # noqa: E402

os.environ.update(environment(_NAMES, {}))

from chalicelib.access import passwords  # noqa: E402 -- after the environment of the functions

FULL_COST = passwords.COST
passwords.COST = passwords.Cost(passes=1, memory_kib=8)  # each test logs in; tests of the cost itself use the full one


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: there is always a worker that waits, for a function or an upstream."""
    return len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) + 1


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A local cloud with the stack deployed and the administrator set; yields the stack's outputs."""
    state = tmp_path_factory.mktemp("cloud")
    with start_cloud(state, PORT):
        outputs = deploy(URL)
        variables = environment(outputs, {})
        fixed = {name: value for name, value in variables.items() if not name.endswith(("_SECRET", "_QUEUE", "_ROLE"))}
        assert fixed.items() <= os.environ.items()
        os.environ.update(variables)

        from chalicelib.bootstrap import bootstrap
        from chalicelib.settings import settings

        settings.cache_clear()
        bootstrap(ADMIN, ADMIN_PASSWORD)
        iam.enforce(outputs)
        yield outputs


@contextlib.contextmanager
def start_cloud(state: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The local cloud as a process, up and answering."""
    with (state / "cloud.log").open("ab") as log:
        command = [sys.executable, "-m", "infra.local.cloud", str(state), str(port), IN_TURN]
        # MiniStack's setting: what state machines wait before another try takes a tenth of the time.
        variables = {**os.environ, "SFN_WAIT_SCALE": "0.1"}
        child = subprocess.Popen(command, cwd=PROJECT, env=variables, stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        wait_until_up(f"http://127.0.0.1:{port}/_ministack/health", child)
        yield child
    finally:
        child.terminate()
        child.wait(30)


def wait_until_up(url: str, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.05)
    raise AssertionError(f"{url} did not come up")


def deploy(url: str) -> dict[str, str]:
    """Deploy the stack, and write back what the journal holds."""
    client = boto3.client("cloudformation", endpoint_url=url)
    outputs = deploy_local(client, build_template_only().read_text())
    request = urllib.request.Request(f"{url}{RECOVER_PATH}", method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        json.load(answer)
    return outputs


@pytest.fixture
def make_project(cloud: dict[str, str]) -> Callable[[str], None]:
    """Make a private project."""

    def make(name: str) -> None:
        from chalicelib.projects import rules

        rules.create(name, ADMIN, public=False)

    return make


@pytest.fixture
def project(make_project: Callable[[str], None]) -> str:
    """A new private project of the test's own."""
    name = f"test{os.urandom(6).hex()}"
    make_project(name)
    return name


@pytest.fixture
def repository(project: str) -> str:
    """The name of a repository that holds nothing yet."""
    return f"{project}/app"


@pytest.fixture
def other_repository(project: str) -> str:
    return f"{project}/other"


@pytest.fixture
def admin_authorization(cloud: dict[str, str]) -> str:
    """The administrator's `Authorization` header, whatever password another test has set."""
    from chalicelib.access import accounts
    from chalicelib.bootstrap import bootstrap

    account = accounts.administrator()
    if account is None or not passwords.verify_password(ADMIN_PASSWORD, account.password_hash):
        bootstrap(ADMIN, ADMIN_PASSWORD)
    return f"Basic {base64.b64encode(f'{ADMIN}:{ADMIN_PASSWORD}'.encode()).decode()}"


@pytest.fixture
def admin_token(cloud: dict[str, str]) -> Callable[..., str]:
    """Make a token with all rights on some repositories."""

    def make(*repositories: str) -> str:
        from chalicelib.access import tokens
        from chalicelib.access.authentication import Caller

        scopes = [f"repository:{repository}:pull,push,delete" for repository in repositories]
        return tokens.issue(Caller(ADMIN, is_admin=True), scopes).text

    return make
