"""Upstreams on this machine, which may be called, and projects that pull through from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import boto3
import pytest

from chalicelib import outbound
from chalicelib.settings import settings
from tests.proxycache.filled import Proxy, proxy_of
from tests.proxycache.upstreams.scripted import Scripted, scripted


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture
def outbound_open(cloud: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process call upstreams on this machine."""
    allowed = replace(settings(), outbound_allowed=("127.0.0.0/8",))
    monkeypatch.setattr(outbound, "settings", lambda: allowed)


@pytest.fixture
def proxy(outbound_open: None, upstream: Scripted) -> Proxy:
    return proxy_of(upstream)


@pytest.fixture
def make_proxy(outbound_open: None) -> Callable[..., Proxy]:
    return proxy_of


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
