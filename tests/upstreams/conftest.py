"""Registries on this machine to be upstreams, which Berth otherwise refuses to call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from chalicelib import outbound
from chalicelib.settings import settings
from tests.upstreams.servers.scripted import Scripted, scripted

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
