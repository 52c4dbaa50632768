"""The deployed functions, allowed to call loopback and trying again after a second."""

from __future__ import annotations

import os
from collections.abc import Iterator

import boto3
import pytest

from chalicelib.settings import settings

_CHANGED = {"BERTH_OUTBOUND_ALLOWED": "127.0.0.0/8", "BERTH_WEBHOOK_RETRY_SECONDS": "1"}


@pytest.fixture(autouse=True, scope="session")
def loopback_functions(cloud: dict[str, str]) -> None:
    client = boto3.client("lambda")
    for function in client.list_functions(MaxItems=50)["Functions"]:
        if function["Handler"] in ("app.dispatch_events", "app.deliver_webhook"):
            variables = {**function["Environment"]["Variables"], **_CHANGED}
            client.update_function_configuration(
                FunctionName=function["FunctionName"], Environment={"Variables": variables}
            )


@pytest.fixture(autouse=True)
def loopback_here(monkeypatch: pytest.MonkeyPatch, loopback_functions: None) -> Iterator[None]:
    for name, value in _CHANGED.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()
    assert os.environ.get("BERTH_OUTBOUND_ALLOWED") != "127.0.0.0/8"
