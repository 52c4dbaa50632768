from __future__ import annotations

import os
import time

import pytest

from chalicelib.access import accounts, passwords, users
from chalicelib.bootstrap import LIBRARY, bootstrap
from chalicelib.projects import rules
from tests.access.support import NAME, PASSWORD


@pytest.fixture(autouse=True)
def _administrator(administrator: None) -> None:
    """Every test here starts from the administrator's account."""


def test_a_password_is_verified_and_a_changed_one_is_not_remembered() -> None:
    assert accounts.verify(NAME, PASSWORD)
    assert accounts.verify(NAME, PASSWORD)
    bootstrap(NAME, "another")
    assert accounts.verify(NAME, PASSWORD) is None
    assert accounts.verify(NAME, "another")


def test_bootstrap_writes_only_what_is_not_right() -> None:
    before = accounts.administrator()
    bootstrap(NAME, PASSWORD)
    assert accounts.administrator() == before


def test_bootstrap_takes_a_hash_for_what_it_is() -> None:
    password_hash = passwords.hash_password("hashed elsewhere")
    bootstrap(NAME, password_hash)
    account = accounts.administrator()
    assert account is not None
    assert account.password_hash == password_hash
    assert accounts.verify(NAME, "hashed elsewhere")


def test_bootstrap_makes_the_public_library() -> None:
    library = rules.get(LIBRARY)
    assert library.public


def test_nobody_can_log_in_before_a_password_is_set() -> None:
    accounts.secrets.write(accounts.settings().admin_secret, '{"name": "admin"}')
    accounts._administrator.clear()
    assert accounts.verify("admin", "") is None
    assert accounts.verify("", "") is None


def test_a_hash_is_salted_and_argon2id() -> None:
    first, second = passwords.hash_password("same"), passwords.hash_password("same")
    assert first != second
    assert passwords.is_hash(first)
    assert passwords.verify_password("same", second)


@pytest.mark.usefixtures("full_cost")
def test_a_login_as_nobody_takes_as_long_as_one_with_a_wrong_password() -> None:
    """In CPU time, which other processes do not lengthen: or names could be told from each other by the clock."""
    name = f"user{os.urandom(6).hex()}"
    users.create(name, "Right-passw0rd", f"{name}@example.com", "Real Name", "")

    def spent(username: str) -> float:
        before = time.process_time()
        assert accounts.verify(username, "a wrong password") is None
        return time.process_time() - before

    spent(f"nobody{os.urandom(6).hex()}")  # what it is compared with is made once
    unknown = min(spent(f"nobody{os.urandom(6).hex()}") for _ in range(3))
    known = min(spent(name) for _ in range(3))
    assert known / 2 < unknown < known * 2
