"""The running Berth that clients talk to (BERTH_URL, BERTH_USER, BERTH_PASSWORD), and the clients, logged in."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.clients import daemons, layout


@dataclass(frozen=True)
class Server:
    url: str
    user: str
    password: str

    @property
    def registry(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def credentials(self) -> str:
        return f"{self.user}:{self.password}"

    def get(self, path: str, **options: object) -> requests.Response:
        return requests.get(f"{self.url}{path}", auth=(self.user, self.password), timeout=30, **options)  # type: ignore[arg-type]

    def make_project(self, public: bool) -> str:
        name = f"p{os.urandom(6).hex()}"
        body = {"project_name": name, "metadata": {"public": str(public).lower()}}
        url = f"{self.url}/api/v2.0/projects"
        answer = requests.post(url, json=body, auth=(self.user, self.password), timeout=30)
        assert answer.status_code == 201, answer.text
        return name

    def limit_storage(self, project: str, size: int) -> None:
        number = self.get(f"/api/v2.0/projects/{project}").json()["project_id"]
        [quota] = self.get(f"/api/v2.0/quotas?reference=project&reference_id={number}").json()
        url = f"{self.url}/api/v2.0/quotas/{quota['id']}"
        answer = requests.put(url, json={"hard": {"storage": size}}, auth=(self.user, self.password), timeout=30)
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="session")
def server() -> Server:
    return Server(os.environ["BERTH_URL"], os.environ["BERTH_USER"], os.environ["BERTH_PASSWORD"])


Run = Callable[..., str]


@pytest.fixture(scope="session")
def run(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a client with a home of its own and return what it printed; `fails=True` when it has to fail."""
    home = tmp_path_factory.mktemp("home")
    env = {
        **os.environ,
        "HOME": str(home),
        "DOCKER_CONFIG": str(home / ".docker"),
        "REGISTRY_AUTH_FILE": str(home / "auth.json"),
        "XDG_RUNTIME_DIR": str(home),
    }

    def call(tool: str, *arguments: str, fails: bool = False, stdin: str = "") -> str:
        assert shutil.which(tool), f"{tool} is not installed: see .ci/run"
        finished = subprocess.run(
            [tool, *arguments],
            env=env,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        assert (finished.returncode != 0) == fails, finished.stdout
        return finished.stdout

    login = ["-u", server.user, "--password-stdin", server.registry]
    call("skopeo", "login", "--tls-verify=false", *login, stdin=server.password)
    call("crane", "auth", "login", *login, stdin=server.password)
    call("oras", "login", "--plain-http", *login, stdin=server.password)
    return call


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with daemons.dockerd(tmp_path_factory.mktemp("docker")) as address:
        yield address


@pytest.fixture
def docker(run: Run, docker_engine: str, server: Server, tmp_path: Path) -> Run:
    """The docker command with a configuration of its own in `config`, logged in."""

    def call(*arguments: str, fails: bool = False, stdin: str = "") -> str:
        configuration = ("--config", str(tmp_path / "config"), "-H", docker_engine)
        return run("docker", *configuration, *arguments, fails=fails, stdin=stdin)

    call("login", "-u", server.user, "--password-stdin", server.registry, stdin=server.password)
    return call


@pytest.fixture(scope="session")
def ctr(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """containerd's command."""
    with daemons.containerd(tmp_path_factory.mktemp("containerd")) as address:
        yield lambda *arguments, **options: run("ctr", "-a", address, *arguments, **options)


@pytest.fixture
def podman_store() -> Iterator[tuple[str, ...]]:
    """Options that give podman a store of its own. It takes no run root of more than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="podman") as folder:
        yield ("--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs")


@pytest.fixture
def repository(server: Server) -> str:
    """A new name in the public project, with the registry's host."""
    return f"{server.registry}/library/{os.urandom(6).hex()}"


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A Debian root file system of three layers as a layout, and its digest."""
    folder = tmp_path_factory.mktemp("debian")
    layers = [
        layout.debian_root(),
        layout.file_layer("etc/berth", b"pushed to Berth\n"),
        layout.file_layer("usr/local/share/data", os.urandom(3_000_000)),
    ]
    return folder, layout.write(folder, layers)


@pytest.fixture
def image(tmp_path: Path) -> tuple[Path, str]:
    """A small image as a layout, and its digest."""
    return tmp_path / "image", layout.small(tmp_path / "image")
