"""Failed logins slow down, by name and by address."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.access import accounts, passwords, throttling, users
from chalicelib.access.store import logins
from chalicelib.oci.errors import TooManyRequests
from tests.access.support import basic, get_token, json_of
from tests.api.support import call

pytestmark = pytest.mark.usefixtures("administrator")

PASSWORD = "Passw0rd-of-a-test"


def fail(name: str, times: int, address: str = "") -> None:
    for attempt in range(times):
        assert accounts.verify(name, f"wrong {attempt}", address) is None


def stop_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    present = time.time()
    monkeypatch.setattr(time, "time", lambda: present)


@pytest.fixture
def name() -> str:
    user = f"user-{uuid.uuid4().hex[:12]}"
    users.create(user, PASSWORD, f"{user}@example.com", "A user", "")
    return user


@pytest.fixture
def address() -> str:
    """One that no other test fails from."""
    return f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}::"


@pytest.fixture
def other_address(address: str) -> str:
    return address.replace("2001:db8:", "2001:db9:")


def test_the_first_failures_are_free_and_then_each_waits_longer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_clock(monkeypatch)
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


def test_an_address_that_tries_many_names_waits(
    name: str, address: str, other_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_clock(monkeypatch)
    for attempt in range(20):
        fail(f"nobody-{attempt}-{uuid.uuid4().hex}", 1, address)
    with pytest.raises(TooManyRequests):
        accounts.verify(name, PASSWORD, address)
    assert accounts.verify(name, PASSWORD, other_address)


def test_a_success_does_not_clear_what_its_address_has_guessed_of_others(name: str, address: str) -> None:
    for _ in range(20):
        fail(f"nobody-{uuid.uuid4().hex}", 1, address)
    later = time.time() + 2
    with pytest.MonkeyPatch.context() as clock:
        clock.setattr(time, "time", lambda: later)
        assert accounts.verify(name, PASSWORD, address)
        fail(f"nobody-{uuid.uuid4().hex}", 1, address)
        with pytest.raises(TooManyRequests):
            accounts.verify(f"nobody-{uuid.uuid4().hex}", "wrong", address)


def test_failures_of_an_address_are_forgiven_one_by_one(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, begun = f"address|{address}", time.time()

    def fail_after(seconds: int) -> int:
        monkeypatch.setattr(time, "time", lambda: begun + seconds)
        assert logins.count(source, logins.read([source]).get(source), 100)
        return logins.read([source])[source].number

    assert [fail_after(0) for _ in range(12)][-1] == 12
    assert fail_after(610) == 12 - 5 + 1
    assert fail_after(620) == 9
    assert fail_after(620 + 1300) == 1


def test_what_is_forgiven_is_so_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, begun = f"address|{address}", time.time()
    for _ in range(10):
        assert logins.count(source, logins.read([source]).get(source), 100)
    before = logins.read([source])[source]
    monkeypatch.setattr(time, "time", lambda: begun + 500)
    for _ in range(3):
        assert logins.count(source, before, 100)
    assert logins.read([source])[source].number == 10 - 4 + 3


def test_failures_are_forgotten_in_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(name, 5)
    later = time.time() + 3601
    monkeypatch.setattr(time, "time", lambda: later)
    fail(name, 4)


def test_the_api_and_the_token_service_say_how_long_to_wait(name: str) -> None:
    for number in range(9):
        assert logins.count(f"name|{name}", logins.Failures(number, 0) if number else None, 100)
    headers = basic(name, PASSWORD)
    for response in (call("GET", "/users/current", headers=headers, admin=False), get_token(headers)):
        assert response.status == 429
        assert 0 < int(response.headers["Retry-After"]) <= 16
        assert json_of(response)["errors"][0]["message"]


@pytest.mark.parametrize("name", ["", "x" * 10_000, "|", "a|b", "näme", "\x00", "名" * 255])
def test_no_name_is_too_odd_to_be_refused(name: str) -> None:
    logins.forget(f"name|{name[:200]}")
    assert accounts.verify(name, "wrong") is None


def at_once(times: int, name: str, password: str, address: str) -> list[str]:
    """What so many logins at the same time are answered."""
    gate = threading.Barrier(times)

    def log_in(_: int) -> str:
        gate.wait()
        try:
            return "in" if accounts.verify(name, password, address) else "wrong"
        except TooManyRequests:
            return "wait"

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(log_in, range(times)))


@pytest.mark.parametrize("before", [0, 5])
def test_of_many_guesses_at_once_no_more_are_looked_at_than_of_many_in_a_row(
    name: str, before: int, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(name, before)
    later = time.time() + 2
    monkeypatch.setattr(time, "time", lambda: later)
    hashed: list[str] = []
    verify = passwords.verify_password

    def counted(password: str, password_hash: str) -> bool:
        hashed.append(password)
        return verify(password, password_hash)

    monkeypatch.setattr(passwords, "verify_password", counted)
    answers = at_once(30, name, "wrong", address)
    allowed = 5 if before == 0 else 1
    assert answers.count("wrong") == len(hashed) <= allowed
    assert answers.count("wait") == 30 - len(hashed)
    assert hashed


def test_right_logins_at_once_do_not_count_against_each_other(name: str, address: str) -> None:
    assert at_once(4, name, PASSWORD, address) == ["in"] * 4
    failures = logins.read([f"name|{name}", f"address|{address}"])
    assert not [each for each in failures.values() if each.number]


def test_who_has_logged_in_from_an_address_is_not_kept_waiting_by_others(
    name: str, address: str, other_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_clock(monkeypatch)
    assert accounts.verify(name, PASSWORD, address)
    accounts._verified.clear()
    fail(name, 5, other_address)  # for the name, from elsewhere
    for _ in range(20):
        fail(f"nobody-{uuid.uuid4().hex}", 1, address)  # for others, from the same address
    with pytest.raises(TooManyRequests):
        accounts.verify(f"nobody-{uuid.uuid4().hex}", "wrong", address)
    with pytest.raises(TooManyRequests):
        accounts.verify(name, PASSWORD, other_address)
    assert accounts.verify(name, PASSWORD, address)


def test_guesses_at_a_name_where_it_is_known_wait_too(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert accounts.verify(name, PASSWORD, address)
    monkeypatch.setattr(throttling, "_OF_KNOWN", throttling.Limit(free=5, longest=60))
    present = time.time()
    monkeypatch.setattr(time, "time", lambda: present)
    fail(name, 5, address)
    accounts._verified.clear()
    with pytest.raises(TooManyRequests):
        accounts.verify(name, PASSWORD, address)
    monkeypatch.setattr(time, "time", lambda: present + 2)
    assert accounts.verify(name, PASSWORD, address)
    known = f"{logins.KNOWN}{throttling._network(address)}|name|{name}"
    assert logins.read([known])[known].number == 4


def test_a_fleet_behind_one_address_logs_in_at_once(name: str, address: str) -> None:
    assert accounts.verify(name, PASSWORD, address)
    accounts._verified.clear()
    assert at_once(16, name, PASSWORD, address) == ["in"] * 16
    known = f"{logins.KNOWN}{throttling._network(address)}|name|{name}"
    assert logins.read([known])[known].number == 0


def test_a_machine_with_an_old_password_does_not_shut_out_its_address(
    name: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.time()
    broken = f"broken-{uuid.uuid4().hex}"
    for minute in range(40):
        monkeypatch.setattr(time, "time", lambda minute=minute: begun + 61 * minute)
        fail(broken, 1, address)
    assert accounts.verify(name, PASSWORD, address)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("no address", "no address either", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (throttling._network(one) == throttling._network(other)) is same


def test_a_login_that_finds_no_room_to_hash_waits_and_does_not_count(
    name: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttling, "_HASH_WAIT_SECONDS", 0)
    monkeypatch.setattr(throttling, "_hashing", threading.BoundedSemaphore(1))
    with throttling.hashing(throttling.begin("nobody", "")):
        for _ in range(6):
            with pytest.raises(TooManyRequests):
                accounts.verify(name, PASSWORD, address)
    assert accounts.verify(name, PASSWORD, address)
