from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from chalicelib.access import accounts, passwords
from chalicelib.bootstrap import bootstrap
from chalicelib.projects import rules
from tests.access import support
from tests.conftest import FULL_COST


@pytest.fixture
def administrator(cloud: object) -> None:
    support.be_administrator()


@pytest.fixture
def full_cost(administrator: None) -> Iterator[None]:
    """Passwords are hashed at what it costs in production, the administrator's too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", FULL_COST)
        _hash_anew()
        yield
    _hash_anew()


def _hash_anew() -> None:
    bootstrap(support.NAME, passwords.hash_password(support.PASSWORD))
    accounts._nobodys_hash.cache_clear()


@pytest.fixture
def public_project(cloud: object) -> str:
    return rules.create(f"public-{uuid.uuid4().hex[:8]}", "admin", public=True).name


@pytest.fixture
def private_project(cloud: object) -> str:
    return rules.create(f"private-{uuid.uuid4().hex[:8]}", "admin", public=False).name
