"""Failed logins slow down, by name and by address."""

from __future__ import annotations

import time
import uuid

import pytest

from chalicelib.access import accounts, throttling, users
from chalicelib.registry.errors import TooManyRequests
from chalicelib.storage import logins
from tests.access.support import basic, get_token, json_of
from tests.api.support import call

pytestmark = pytest.mark.usefixtures("administrator")

PASSWORD = "Passw0rd-of-a-test"


def fail(name: str, times: int, address: str = "") -> None:
    for attempt in range(times):
        assert accounts.verify(name, f"wrong {attempt}", address) is None


@pytest.fixture
def name() -> str:
    user = f"user-{uuid.uuid4().hex[:12]}"
    users.create(user, PASSWORD, f"{user}@example.com", "A user", "")
    return user


@pytest.fixture
def address() -> str:
    """One that no other test fails from."""
    return f"2001:db8::{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}"


def test_the_first_failures_are_free_and_then_each_waits_longer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(name, 5)
    waits = []
    for _ in range(3):
        with pytest.raises(TooManyRequests) as caught:
            accounts.verify(name, PASSWORD)
        waits.append(int(caught.value.headers["Retry-After"]))
        later = time.time() + waits[-1]
        monkeypatch.setattr(time, "time", lambda later=later: later)
        fail(name, 1)
    assert waits == [1, 2, 4]


def test_a_wait_for_a_name_is_bounded() -> None:
    assert throttling._OF_NAME.wait(10_000) == 60
    assert throttling._OF_ADDRESS.wait(10_000) == 900


def test_a_success_forgets_the_failures(name: str) -> None:
    fail(name, 4)
    assert accounts.verify(name, PASSWORD)
    assert logins.read([f"name|{name}"]) == {}
    fail(name, 4)


def test_what_was_right_within_the_last_minute_does_not_wait(name: str) -> None:
    assert accounts.verify(name, PASSWORD)
    fail(name, 5)
    assert accounts.verify(name, PASSWORD)


def test_an_address_that_tries_many_names_waits(name: str, address: str) -> None:
    for attempt in range(20):
        fail(f"nobody-{attempt}-{uuid.uuid4().hex}", 1, address)
    with pytest.raises(TooManyRequests):
        accounts.verify(name, PASSWORD, address)
    assert accounts.verify(name, PASSWORD, f"{address}1")


def test_a_success_does_not_clear_what_its_address_has_guessed_of_others(name: str, address: str) -> None:
    for attempt in range(19):
        fail(f"nobody-{attempt}-{uuid.uuid4().hex}", 1, address)
    fail(name, 1, address)
    later = time.time() + 2
    with pytest.MonkeyPatch.context() as clock:
        clock.setattr(time, "time", lambda: later)
        assert accounts.verify(name, PASSWORD, address)
        assert list(logins.read([f"name|{name}", f"address|{address}"])) == [f"address|{address}"]
        fail(f"nobody-{uuid.uuid4().hex}", 1, address)
        with pytest.raises(TooManyRequests):
            accounts.verify(f"nobody-{uuid.uuid4().hex}", "wrong", address)


def test_failures_of_an_address_are_forgiven_one_by_one(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, begun = f"address|{address}", time.time()

    def fail_after(seconds: int) -> int:
        monkeypatch.setattr(time, "time", lambda: begun + seconds)
        logins.count(source, logins.read([source]).get(source))
        return logins.read([source])[source].number

    assert [fail_after(0) for _ in range(12)][-1] == 12
    assert fail_after(610) == 12 - 5 + 1
    assert fail_after(620) == 9
    assert fail_after(620 + 1300) == 1


def test_what_is_forgiven_is_so_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, begun = f"address|{address}", time.time()
    for _ in range(10):
        logins.count(source, logins.read([source]).get(source))
    before = logins.read([source])[source]
    monkeypatch.setattr(time, "time", lambda: begun + 500)
    for _ in range(3):
        logins.count(source, before)
    assert logins.read([source])[source].number == 10 - 4 + 3


def test_failures_are_forgotten_in_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(name, 5)
    later = time.time() + 3601
    monkeypatch.setattr(time, "time", lambda: later)
    fail(name, 4)


def test_the_api_and_the_token_service_say_how_long_to_wait(name: str) -> None:
    for number in range(9):
        logins.count(f"name|{name}", logins.Failures(number, 0) if number else None)
    headers = basic(name, PASSWORD)
    for response in (call("GET", "/users/current", headers=headers, admin=False), get_token(headers)):
        assert response.status == 429
        assert 0 < int(response.headers["Retry-After"]) <= 16
        assert json_of(response)["errors"][0]["message"]


@pytest.mark.parametrize("name", ["", "x" * 10_000, "|", "a|b", "näme", "\x00", "名" * 255])
def test_no_name_is_too_odd_to_be_refused(name: str) -> None:
    logins.forget(f"name|{name[:200]}")
    assert accounts.verify(name, "wrong") is None
