"""Garbage collection through Harbor's API and the deployed state machine."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from chalicelib.gc import times
from chalicelib.gc.errors import TimesTooShortError
from chalicelib.registry.http import Response
from tests.api.people import as_user, content, new_user
from tests.api.support import call, errors_of
from tests.jobs.support import SECONDS
from tests.registry.images import push_blob

pytestmark = pytest.mark.usefixtures("administrator")

SCHEDULE = "/system/gc/schedule"


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
    assert call("PUT", SCHEDULE, asked("None")).status == 200
    assert content(call("GET", SCHEDULE)) == {}


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
