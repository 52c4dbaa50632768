from __future__ import annotations

import pytest

from tests.access.support import be_administrator


@pytest.fixture
def administrator(cloud: object) -> None:
    be_administrator()
