"""The two servers: Berth by `make run`, and docker-registry with its S3 driver on Berth's local cloud."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

PROJECT = Path(__file__).resolve().parents[2]
PASSWORD = "a password of the benchmark's own"
_START_SECONDS = 120.0
PEER_BUCKET = "docker-registry"


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had at once."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@dataclass(frozen=True)
class Server:
    """A registry that runs. `name` is its host and port, `pid` the process that answers."""

    name: str
    pid: int
    is_open: bool
    """Whether it lets anyone do anything; else clients log in as Berth's administrator."""

    @property
    def peak_bytes(self) -> int:
        """The most memory that the process has had at once."""
        return peak_bytes(self.pid)

    def authorization(self, repository: str) -> dict[str, str]:
        """Headers that let a client pull from a repository: none, or the token that a stock client would fetch."""
        if self.is_open:
            return {}
        basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        url = f"http://{self.name}/service/token?service=berth&scope=repository:{repository}:pull"
        answer = fetch(urllib.request.Request(url, headers={"Authorization": f"Basic {basic}"}))
        return {"Authorization": f"Bearer {json.loads(answer)['token']}"}


@dataclass(frozen=True)
class Berth(Server):
    """`make run` on a port and a state folder of its own, and what it has told scripts."""

    seconds: float
    """What it took until it was healthy."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its functions."""
        pairs = Path(f"/proc/{self.pid}/environ").read_bytes().decode().split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def make_project(self, name: str, *, public: bool) -> None:
        self._post("projects", {"project_name": name, "metadata": {"public": str(public).lower()}})

    def make_proxy_project(self, name: str, remote: str) -> None:
        """A private project that pulls through from the registry at the URL `remote`."""
        endpoint = {"name": name, "type": "docker-registry", "url": remote, "insecure": True}
        number = int(self._post("registries", endpoint).rpartition("/")[2])
        self._post("projects", {"project_name": name, "registry_id": number, "metadata": {"public": "false"}})

    def _post(self, collection: str, document: dict[str, Any]) -> str:
        """Make a record by the REST API; its Location."""
        basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
        url = f"http://{self.name}/api/v2.0/{collection}"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(document).encode(), headers)) as answer:
            return str(answer.headers["Location"])


@contextlib.contextmanager
def berth(state: Path, **settings: str) -> Iterator[Berth]:
    """Start Berth as a user does, with settings of its functions, and stop it as Ctrl-C does."""
    port = free_port()
    started = time.monotonic()
    variables = {"BERTH_PORT": str(port), "BERTH_STATE": str(state), "BERTH_ADMIN_PASSWORD": PASSWORD, **settings}
    with (state.parent / "berth.log").open("ab") as log:
        process = subprocess.Popen(
            ["make", "run"], cwd=PROJECT, env={**os.environ, **variables}, stdout=log, stderr=log
        )
    try:
        _wait_until_up(process, f"http://localhost:{port}/api/v2.0/health", Path(log.name))
        seconds = time.monotonic() - started
        facts: dict[str, Any] = json.loads(_when_there(state / "run.json"))
        yield Berth(f"localhost:{port}", facts["gateway_pid"], False, seconds)
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def docker_registry(folder: Path, berth: Berth, remote: str = "") -> Iterator[Server]:
    """Start docker-registry as Debian configures it, but on the S3 of Berth's cloud, and without asking for a login.

    With the URL of a `remote` registry it pulls through from there.
    """
    cloud = berth.environment
    boto3.client(
        "s3",
        endpoint_url=cloud["AWS_ENDPOINT_URL"],
        region_name=cloud["AWS_REGION"],
        aws_access_key_id=cloud["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=cloud["AWS_SECRET_ACCESS_KEY"],
    ).create_bucket(Bucket=PEER_BUCKET)
    port = free_port()
    config = folder / "docker-registry.yml"
    proxy = f"proxy: {{remoteurl: {remote}}}\n" if remote else ""
    config.write_text(_CONFIG.format(**cloud, bucket=PEER_BUCKET, port=port) + proxy)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (folder / "docker-registry.log").open("ab") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], env=environment, stdout=log, stderr=log)
    try:
        _wait_until_up(process, f"http://localhost:{port}/v2/", Path(log.name))
        yield Server(f"localhost:{port}", process.pid, is_open=True)
    finally:
        process.terminate()
        process.wait()


def collect_garbage(folder: Path) -> float:
    """The seconds of docker-registry's `garbage-collect`, with the configuration that it was last started with."""
    command = ["docker-registry", "garbage-collect", str(folder / "docker-registry.yml")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    started = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: docker-registry garbage-collect failed: {done.stderr[-1000:]}")
    return time.monotonic() - started


# Debian's /etc/docker/registry/config.yml, its `storage` on S3 and its `auth` left out.
_CONFIG = """\
version: 0.1
log: {{level: warn, fields: {{service: registry}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  s3:
    region: {AWS_REGION}
    regionendpoint: {AWS_ENDPOINT_URL}
    bucket: {bucket}
    accesskey: {AWS_ACCESS_KEY_ID}
    secretkey: {AWS_SECRET_ACCESS_KEY}
    secure: false
    v4auth: true
  redirect: {{disable: false}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
  headers: {{X-Content-Type-Options: [nosniff]}}
health:
  storagedriver: {{enabled: true, interval: 10s, threshold: 3}}
"""


def require_tools() -> None:
    missing = [tool for tool in ("docker-registry", "skopeo", "make") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"bench: install {' and '.join(missing)} (Debian packages of that name)")


def require_manifest(server: Server, repository: str, tag: str) -> None:
    """See that an image is there. Raises HTTPError when it is not."""
    fetch(
        urllib.request.Request(
            f"http://{server.name}/v2/{repository}/manifests/{tag}", headers=server.authorization(repository)
        )
    )


def fetch(request: urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
        return content


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            fetch(urllib.request.Request(url))
            return
        time.sleep(0.02)
    raise SystemExit(f"bench: {url} does not answer; the server said:\n{log.read_text()[-2000:]}")


def _when_there(path: Path) -> str:
    """The text of a file that is written at about this time."""
    deadline = time.monotonic() + 5
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return path.read_text()
