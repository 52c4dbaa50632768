"""The Berth that these tests pull through: one of their own, which may call this machine, and asks upstream often."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.conftest import Server
from tests.clients.proxycache.pulls import FRESH_SECONDS
from tests.infra.local.instance import PASSWORD, Instance


@pytest.fixture(scope="session")
def berth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    instance = Instance(
        tmp_path_factory.mktemp("berth") / "state",
        BERTH_OUTBOUND_ALLOWED="127.0.0.0/8",
        BERTH_PROXY_FRESH_SECONDS=str(FRESH_SECONDS),
    )
    instance.start()
    yield Server(instance.url, "admin", PASSWORD)
    instance.stop()
