"""Upstreams on this machine, which Berth otherwise refuses to call, and projects that pull through from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import boto3
import pytest

from chalicelib import outbound
from chalicelib.settings import settings
from tests.proxycache.filled import Proxy, proxy_of
from tests.proxycache.upstreams.scripted import Scripted, scripted

Allow = Callable[..., None]


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Allow]:
    """Set which private networks and hosts may be called."""
    present = settings()

    def set_allowed(*entries: str) -> None:
        outbound.pool.cache_clear()
        monkeypatch.setattr(outbound, "settings", lambda: replace(present, outbound_allowed=entries))

    yield set_allowed
    outbound.pool.cache_clear()


@pytest.fixture
def loopback(allow: Allow) -> None:
    allow("127.0.0.0/8")


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture
def proxy(cloud: object, loopback: None, upstream: Scripted) -> Proxy:
    """A proxy project of `upstream`."""
    return proxy_of(upstream)


@pytest.fixture(scope="session")
def fill_function(cloud: dict[str, str]) -> None:
    """The deployed function may call upstreams on this machine."""
    client = boto3.client("lambda")
    for function in client.list_functions(MaxItems=50)["Functions"]:
        if function["Handler"] == "app.fill_blobs":
            variables = {**function["Environment"]["Variables"], "BERTH_OUTBOUND_ALLOWED": "127.0.0.0/8"}
            client.update_function_configuration(
                FunctionName=function["FunctionName"], Environment={"Variables": variables}
            )
