from __future__ import annotations

import uuid

import pytest

from chalicelib.projects import rules
from tests.access import support


@pytest.fixture
def administrator(cloud: object) -> None:
    support.be_administrator()


@pytest.fixture
def public_project(cloud: object) -> str:
    return rules.create(f"public-{uuid.uuid4().hex[:8]}", "admin", public=True).name


@pytest.fixture
def private_project(cloud: object) -> str:
    return rules.create(f"private-{uuid.uuid4().hex[:8]}", "admin", public=False).name
