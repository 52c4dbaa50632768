"""A Berth of the suite's own, with an honest user and a hostile one, each with a project."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.crash.client import Client
from tests.infra.local.instance import PASSWORD, Instance

USER_PASSWORD = "Honest-Passw0rd"
ROUNDS = 5


@pytest.fixture(scope="session")
def berth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("berth") / "state")
    instance.start()
    yield instance
    assert instance.process is not None
    assert instance.process.poll() is None, "every process is there at the end"
    assert instance.stop()[0] == 0


class User:
    """A user with a project of the same name; `api` calls Harbor's API."""

    def __init__(self, berth: Instance, name: str) -> None:
        self.name = self.project = name
        self.berth = berth
        self.port = urlsplit(berth.url).port or 0
        self.session = requests.Session()
        self.session.auth = (name, USER_PASSWORD)
        self.client = Client(berth.url)

    def api(self, method: str, path: str, **options: object) -> requests.Response:
        return self.session.request(method, f"{self.berth.url}/api/v2.0{path}", timeout=60, **options)  # type: ignore[arg-type]

    def log_in(self, repository: str = "app") -> None:
        self.client.log_in(f"{self.project}/{repository}", user=self.name, password=USER_PASSWORD)

    def work(self) -> float:
        """Log in, push an image and pull it: how long the slowest of these took, in seconds."""
        times = []
        for step in (self.log_in, self._push, self._pull):
            began = time.monotonic()
            step()
            times.append(time.monotonic() - began)
        return max(times)

    def _push(self) -> None:
        self._image = self.client.push(f"{self.project}/app", "v1", size=100_000)

    def _pull(self) -> None:
        self.client.pull(self._image)


def _user(berth: Instance, name: str) -> User:
    body = {"username": name, "email": f"{name}@example.com", "realname": name, "password": USER_PASSWORD}
    made = requests.post(f"{berth.url}/api/v2.0/users", json=body, auth=("admin", PASSWORD), timeout=30)
    assert made.status_code == 201, made.text
    user = User(berth, name)
    made = user.api("POST", "/projects", json={"project_name": name, "metadata": {"public": "true"}})
    assert made.status_code == 201, made.text
    return user


@pytest.fixture(scope="session")
def honest(berth: Instance) -> User:
    return _user(berth, "alice")


@pytest.fixture(scope="session")
def hostile(berth: Instance) -> User:
    return _user(berth, "mallory")


@pytest.fixture(scope="session")
def usual(honest: User) -> float:
    """How long the slowest of the honest user's steps takes alone, in seconds."""
    honest.work()
    return statistics.median(honest.work() for _ in range(ROUNDS))


def memory(berth: Instance) -> dict[str, int]:
    """Bytes of memory that each process has."""
    found = {}
    for name in ("gateway_pid", "cloud_pid"):
        text = Path(f"/proc/{berth.facts[name]}/status").read_text()
        found[name] = int(text.partition("VmRSS:")[2].split()[0]) * 1024
    return found
