"""Projects that pull through from upstreams on this machine."""

from __future__ import annotations

import boto3
import pytest

from tests.proxycache.filled import Proxy, proxy_of
from tests.upstreams.conftest import allow, loopback, upstream  # noqa: F401 -- fixtures
from tests.upstreams.servers.scripted import Scripted


@pytest.fixture
def proxy(cloud: object, loopback: None, upstream: Scripted) -> Proxy:  # noqa: F811 -- the fixtures
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
