"""A proxy project of each test's own, with a scripted upstream behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from chalicelib.access import tokens
from chalicelib.access.authentication import Caller
from chalicelib.http import Request, Response
from chalicelib.projects import rules
from chalicelib.proxycache import freshness, sources
from chalicelib.settings import settings
from chalicelib.upstreams import endpoints
from chalicelib.upstreams.endpoints import Changes
from chalicelib.v2.routes import handle
from tests.access.support import be_administrator
from tests.conftest import ADMIN
from tests.upstreams.servers.scripted import Scripted, scripted

LOOPBACK = "127.0.0.0/8"


@dataclass(frozen=True)
class Proxy:
    """A proxy project, and how a client that may pull and delete there asks for what is in it."""

    name: str
    project_id: int
    authorization: str

    def ask(self, method: str, path: str, **query: str) -> Response:
        """The answer to a request for what is behind `/v2/<project>/`."""
        headers = {"authorization": self.authorization}
        return handle(Request(method, f"/v2/{self.name}/{path}", query, headers, b"", "http://localhost"))

    def get(self, path: str, **query: str) -> Response:
        return self.ask("GET", path, **query)

    def head(self, path: str) -> Response:
        return self.ask("HEAD", path)

    def origin(self, name: str) -> str:
        """What upstream's replies of the repository `name` are kept under."""
        return sources.of(rules.get(self.name), f"{self.name}/{name}").origin

    def later(self) -> None:
        """As if this process had just started, and every reply of upstream's were old."""
        freshness._replies.clear()


@pytest.fixture(autouse=True)
def _loopback(cloud: dict[str, str], fill_function: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Upstreams of tests are on this machine; what they said is good for no time, unless a test says so."""
    monkeypatch.setenv("BERTH_OUTBOUND_ALLOWED", LOOPBACK)
    monkeypatch.setenv("BERTH_PROXY_FRESH_SECONDS", "0")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture
def make_proxy(cloud: dict[str, str]) -> Callable[..., Proxy]:
    """Make a proxy project of an upstream; keyword arguments are settings of the project."""

    def make(
        url: str, kind: str = "docker-registry", *, name: str = "", public: bool = False, **metadata: str
    ) -> Proxy:
        name = name or f"proxy{os.urandom(6).hex()}"
        endpoint = endpoints.create(kind, Changes(name=f"{name}-{os.urandom(3).hex()}", url=url))
        rules.create(name, ADMIN, public=public, metadata=metadata, registry_id=endpoint.number)
        project = rules.get(name)
        scopes = [f"repository:{name}/{each}:pull,delete" for each in ("app", "library/app", "team/app", "other")]
        token = tokens.issue(Caller(ADMIN, is_admin=True), scopes).text
        return Proxy(name, project.project_id, f"Bearer {token}")

    return make


@pytest.fixture
def proxy(make_proxy: Callable[..., Proxy], upstream: Scripted) -> Proxy:
    return make_proxy(upstream.url)


@pytest.fixture
def administrator(cloud: dict[str, str]) -> None:
    """Has the password that tests.api.support sends."""
    be_administrator()
