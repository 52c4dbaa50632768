"""Failed logins slow down, by name and by address."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.access import accounts, passwords, throttling, users
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
    return f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}::1"


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
    with pytest.raises(TooManyRequests):
        accounts.verify(name, PASSWORD, address.replace("::1", "::2"))  # the same network
    assert accounts.verify(name, PASSWORD, f"10.{uuid.uuid4().bytes[0]}.{uuid.uuid4().bytes[0]}.1")


def test_a_user_who_is_known_at_an_address_does_not_wait_for_others_there(
    name: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert accounts.verify(name, PASSWORD, address)
    for attempt in range(20):
        fail(f"nobody-{attempt}-{uuid.uuid4().hex}", 1, address)
    fail(name, 5, f"10.{uuid.uuid4().bytes[0]}.{uuid.uuid4().bytes[0]}.2")
    accounts._verified.clear()
    assert accounts.verify(name, PASSWORD, address)
    fail(name, 5, address)
    accounts._verified.clear()
    with pytest.raises(TooManyRequests):
        accounts.verify(name, PASSWORD, address)


def test_a_burst_of_guesses_is_no_faster(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All have read that none failed before any is counted."""
    hashed: list[str] = []
    monkeypatch.setattr(passwords, "verify_password", lambda password, _hash: hashed.append(password))
    everybody, read = threading.Barrier(12), logins.read

    def read_together(sources: Sequence[str]) -> dict[str, logins.Failures]:
        found = read(sources)
        everybody.wait(20)
        return found

    monkeypatch.setattr(logins, "read", read_together)

    def guess(number: int) -> bool:
        try:
            accounts.verify(name, f"wrong {number}", address)
        except TooManyRequests:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(guess, range(12))) == len(hashed) == 5


def test_guesses_in_pairs_do_not_pass_the_wait(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(name, 5, address)
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    source = f"name|{name}"
    tried = 0
    for _ in range(20):
        # Two have read the same before either is counted.
        before = logins.read([source])[source]
        waits = before.last + throttling._OF_NAME.wait(before.number) > later
        both = [logins.count(source, before, free=5, seconds=3600) for _ in range(2)] if not waits else []
        tried += sum(each is not None for each in both)
    assert tried == 1


def test_a_user_stays_known_after_a_mistake(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert accounts.verify(name, PASSWORD, address)
    fail(name, 1, address)
    later = time.time() + 2 * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    fail(name, 5, "")
    for attempt in range(20):
        fail(f"nobody-{attempt}-{uuid.uuid4().hex}", 1, address)
    accounts._verified.clear()
    assert accounts.verify(name, PASSWORD, address)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("unix", "unix", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (throttling._place(one) == throttling._place(other)) == same


def test_a_success_does_not_clear_what_its_address_has_guessed_of_others(name: str, address: str) -> None:
    for attempt in range(19):
        fail(f"nobody-{attempt}-{uuid.uuid4().hex}", 1, address)
    fail(name, 1, address)
    later = time.time() + 2
    with pytest.MonkeyPatch.context() as clock:
        clock.setattr(time, "time", lambda: later)
        assert accounts.verify(name, PASSWORD, address)
        place = f"address|{throttling._place(address)}"
        assert list(logins.read([f"name|{name}", place])) == [place]
        fail(f"nobody-{uuid.uuid4().hex}", 1, address)
        with pytest.raises(TooManyRequests):
            accounts.verify(f"nobody-{uuid.uuid4().hex}", "wrong", address)


def test_failures_of_an_address_are_forgiven_one_by_one(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, begun = f"address|{address}", time.time()

    def fail_after(seconds: int) -> int:
        monkeypatch.setattr(time, "time", lambda: begun + seconds)
        logins.count(source, logins.read([source]).get(source), free=20, seconds=3600)
        return logins.read([source])[source].number

    assert [fail_after(0) for _ in range(12)][-1] == 12
    assert fail_after(610) == 12 - 5 + 1
    assert fail_after(620) == 9
    assert fail_after(620 + 1300) == 1


def test_what_is_forgiven_is_so_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, begun = f"address|{address}", time.time()
    for _ in range(10):
        logins.count(source, logins.read([source]).get(source), free=20, seconds=3600)
    before = logins.read([source])[source]
    monkeypatch.setattr(time, "time", lambda: begun + 500)
    for _ in range(3):
        logins.count(source, before, free=20, seconds=3600)
    assert logins.read([source])[source].number == 10 - 4 + 3


def test_failures_are_forgotten_in_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(name, 5)
    later = time.time() + 3601
    monkeypatch.setattr(time, "time", lambda: later)
    fail(name, 4)


def test_the_api_and_the_token_service_say_how_long_to_wait(name: str) -> None:
    for _ in range(9):
        logins.count(f"name|{name}", logins.read([f"name|{name}"]).get(f"name|{name}"), free=5, seconds=3600)
    headers = basic(name, PASSWORD)
    for response in (call("GET", "/users/current", headers=headers, admin=False), get_token(headers)):
        assert response.status == 429
        assert 0 < int(response.headers["Retry-After"]) <= 16
        assert json_of(response)["errors"][0]["message"]


@pytest.mark.parametrize("name", ["", "x" * 10_000, "|", "a|b", "näme", "\x00", "名" * 255])
def test_no_name_is_too_odd_to_be_refused(name: str) -> None:
    logins.forget(f"name|{name[:200]}")
    assert accounts.verify(name, "wrong") is None
