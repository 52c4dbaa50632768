"""Garbage collection through Harbor's API and the deployed state machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.gc import times
from chalicelib.gc.errors import TimesTooShortError
from chalicelib.http import Response
from chalicelib.jobs.records import Status
from chalicelib.jobs.store import tasks
from chalicelib.storage import blobstore
from tests.api.people import as_user, content, new_user
from tests.api.support import call, errors_of
from tests.gc.garbage import condemned, standing
from tests.jobs.support import SECONDS
from tests.registry.images import push_blob

pytestmark = pytest.mark.usefixtures("administrator")

SCHEDULE = "/system/gc/schedule"

GARBAGE = 2200
"""Blobs: pages enough for a stop to find the run in the midst of them."""
STOP_SECONDS = 30.0
"""Of a machine that is busy with other things. A run that went on would take hours: it waits for the grace."""


def asked(type_: str = "Manual", cron: str = "", **parameters: Any) -> dict[str, Any]:
    return {"schedule": {"type": type_, "cron": cron}, "parameters": parameters}


def started(response: Response) -> int:
    assert response.status == 201, response.body
    return int(response.headers["Location"].rpartition("/")[2])


def ended(number: int) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = content(call("GET", f"/system/gc/{number}"))
        if found["job_status"] not in ("Pending", "Running"):
            return dict(found)
        time.sleep(0.1)
    raise AssertionError("it does not end")


def test_a_dry_run_is_in_the_history_with_its_figures(repository: str) -> None:
    push_blob(repository, os.urandom(10))
    number = started(call("POST", SCHEDULE, asked(dry_run=True, delete_untagged=True, workers=2)))
    found = ended(number)
    assert (found["job_status"], found["job_kind"], found["job_name"]) == ("Success", "MANUAL", "GARBAGE_COLLECTION")
    told = json.loads(found["job_parameters"])
    assert {"dry_run": True, "delete_untagged": True, "workers": 2}.items() <= told.items()
    assert {"purged_blobs", "purged_manifests", "freed_space", "expected_seconds", "percent"} <= told.keys()
    history = content(call("GET", "/system/gc?page_size=2&q=job_kind=MANUAL"))
    assert history[0]["id"] == number
    assert history[0] == found
    log = call("GET", f"/system/gc/{number}/log")
    assert (log.status, "forecast" in log.body.decode()) == (200, True)
    assert call("PUT", f"/system/gc/{number}").status == 200
    assert content(call("GET", f"/system/gc/{number}"))["job_status"] == "Success"


def test_one_runs_at_a_time_and_is_stopped() -> None:
    number = started(call("POST", SCHEDULE, asked()))
    other = call("POST", SCHEDULE, asked())
    assert call("PUT", f"/system/gc/{number}").status == 200
    assert ended(number)["job_status"] in ("Stopped", "Success")
    assert other.status in (201, 409)
    if other.status == 201:  # the first had ended already
        ended(started(other))


@pytest.mark.slow
def test_a_run_is_stopped_within_seconds_and_a_later_one_goes_on() -> None:
    """What a stop leaves is whole: a blob that is left has its object, and the object of one that went is gone."""
    keys = condemned(GARBAGE)
    number = started(call("POST", SCHEDULE, asked(reconcile=False)))
    told = wait_for(number, lambda told: told["freed_space"] > 0)
    assert 0 < told["percent"] < 100
    stopped = time.monotonic()
    assert call("PUT", f"/system/gc/{number}").status == 200
    assert content(call("GET", f"/system/gc/{number}"))["job_status"] == "Stopped"
    while not all(task.status.is_final or task.status is Status.PENDING for task in tasks.read_all(number)):
        assert time.monotonic() - stopped < STOP_SECONDS, "it works on"
        time.sleep(0.1)
    left = standing(keys)
    assert 0 < len(left) < GARBAGE
    assert {digest for digest, key in keys.items() if blobstore.exists(key)} == left
    number = started(call("POST", SCHEDULE, asked(reconcile=False, workers=2)))
    wait_for(number, lambda told: told["purged_blobs"] >= len(left))
    assert call("PUT", f"/system/gc/{number}").status == 200  # it may wait for what other tests have condemned
    assert standing(keys) == set()


def wait_for(number: int, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What a run tells once that holds."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        told: dict[str, Any] = json.loads(content(call("GET", f"/system/gc/{number}"))["job_parameters"])
        if holds(told):
            return told
        time.sleep(0.3)
    raise AssertionError(f"it does not come so far: {told}")


@pytest.mark.parametrize(
    "body",
    [
        *(asked(workers=workers) for workers in (0, 6, "3")),
        asked(dry_run="yes"),
        asked(time_window=-1),
        asked("Sometimes"),
        asked("Custom"),
        asked("Custom", "* * *"),
        {"schedule": "Daily"},
        {},
    ],
)
def test_what_makes_no_sense_is_refused(body: dict[str, Any]) -> None:
    response = call("POST", SCHEDULE, body)
    assert (response.status, errors_of(response)) == (400, ["BAD_REQUEST"])


def test_the_schedule_is_set_shown_changed_and_taken_away() -> None:
    assert content(call("GET", SCHEDULE)) == {}
    assert started(call("POST", SCHEDULE, asked("Daily", "0 0 0 * * *", delete_untagged=True, workers=3))) == 0
    found = content(call("GET", SCHEDULE))
    assert (found["schedule"]["type"], found["schedule"]["cron"]) == ("Daily", "0 0 0 * * *")
    assert found["schedule"]["next_scheduled_time"]
    assert json.loads(found["job_parameters"]) == {"dry_run": False, "delete_untagged": True, "workers": 3}
    assert call("PUT", SCHEDULE, asked("Custom", "0 30 3 * * *", time_window=5)).status == 200
    assert content(call("GET", SCHEDULE))["schedule"]["cron"] == "0 30 3 * * *"
    assert (
        started(call("POST", SCHEDULE, asked("Weekly", "0 0 0 * * 0"))) == 0
    )  # as in Harbor it takes the old one's place
    assert content(call("GET", SCHEDULE))["schedule"]["type"] == "Weekly"
    for _ in range(2):
        assert call("PUT", SCHEDULE, asked("None")).status == 200
        assert content(call("GET", SCHEDULE)) == {}
    assert call("PUT", SCHEDULE, asked("Hourly", "0 0 * * * *")).status == 200  # there need not be one to change
    assert content(call("GET", SCHEDULE))["schedule"]["type"] == "Hourly"
    assert call("POST", SCHEDULE, asked("None")).status == 201


def test_a_grace_that_is_too_short_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_window: float | None) -> None:
        raise TimesTooShortError("BERTH_GC_GRACE_SECONDS is 1")

    monkeypatch.setattr(times, "of", refuse)
    response = call("POST", SCHEDULE, asked())
    assert (response.status, errors_of(response)) == (412, ["PRECONDITION"])


def test_it_is_for_administrators_alone() -> None:
    name, _ = new_user()
    for method, path in [
        ("GET", "/system/gc"),
        ("GET", "/system/gc/1"),
        ("PUT", "/system/gc/1"),
        ("GET", "/system/gc/1/log"),
        ("GET", SCHEDULE),
        ("POST", SCHEDULE),
        ("PUT", SCHEDULE),
    ]:
        body = asked() if path == SCHEDULE and method != "GET" else None
        assert call(method, path, body, admin=False).status == 401
        assert as_user(name, method, path, body).status == 403


def test_what_is_not_there_is_not_found() -> None:
    for method, path in [("GET", ""), ("PUT", ""), ("GET", "/log")]:
        assert call(method, f"/system/gc/99999999{path}").status == 404
