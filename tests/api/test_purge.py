"""Purges of the audit log through Harbor's API and the deployed state machine."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from chalicelib.auditing import purging
from chalicelib.events import store as audit
from chalicelib.events.store import Period
from chalicelib.http import Response
from tests.api.people import as_user, content, new_user
from tests.api.support import call
from tests.jobs.support import SECONDS

pytestmark = pytest.mark.usefixtures("administrator")

SCHEDULE = "/system/purgeaudit/schedule"


def asked(type_: str = "Manual", cron: str = "", **parameters: Any) -> dict[str, Any]:
    given = {"audit_retention_hour": 0, "include_event_types": "create_project", "dry_run": False, **parameters}
    return {"schedule": {"type": type_, "cron": cron}, "parameters": given}


def started(response: Response) -> int:
    assert response.status == 201, response.body
    return int(response.headers["Location"].rpartition("/")[2])


def ended(number: int) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = content(call("GET", f"/system/purgeaudit/{number}"))
        if found["job_status"] not in ("Pending", "Running"):
            return dict(found)
        time.sleep(0.1)
    raise AssertionError("it does not end")


def logged(project: str) -> bool:
    """Whether the log still tells of the making of a project."""
    entries = audit.entries(audit.system_partitions(), Period(), descending=True)
    return any(each.type == "create_project" and each.resource == project for each in entries)


def test_a_purge_deletes_what_is_old_enough_and_asked_for(project: str) -> None:
    assert call("POST", "/projects", {"project_name": f"{project}-b"}).status == 201
    name = f"{project}-b"
    assert logged(name)
    time.sleep(0.01)
    for untouched in ({"dry_run": True}, {"include_event_types": "delete_project"}, {"audit_retention_hour": 1}):
        number = started(call("POST", SCHEDULE, asked(**untouched)))
        assert ended(number)["job_status"] == "Success"
        assert logged(name)
    number = started(call("POST", SCHEDULE, asked()))
    found = ended(number)
    assert (found["job_status"], found["job_kind"], found["job_name"]) == ("Success", "MANUAL", "PURGE_AUDIT_LOG")
    assert json.loads(found["job_parameters"])["include_event_types"] == "create_project"
    assert not logged(name)
    log = call("GET", f"/system/purgeaudit/{number}/log")
    assert log.status == 200
    assert "purged" in log.body.decode()
    history = content(call("GET", "/system/purgeaudit?page_size=2"))
    assert history[0]["id"] == number
    assert content(call("GET", f"/system/purgeaudit?q=id={number}"))[0]["id"] == number


def test_a_purge_is_stopped() -> None:
    number = started(call("POST", SCHEDULE, asked(dry_run=True)))
    assert call("PUT", f"/system/purgeaudit/{number}").status == 200
    assert ended(number)["job_status"] in ("Stopped", "Success")
    assert call("PUT", f"/system/purgeaudit/{number}").status == 200
    assert call("PUT", f"/system/purgeaudit/{number + 99999}").status == 404
    assert call("GET", f"/system/purgeaudit/{number + 99999}").status == 404
    assert call("GET", f"/system/purgeaudit/{number + 99999}/log").status == 404


def test_the_schedule_is_set_shown_changed_and_taken_away() -> None:
    assert content(call("GET", SCHEDULE)) == {}
    assert started(call("POST", SCHEDULE, asked("Daily", include_operations="create,delete"))) == 0
    found = content(call("GET", SCHEDULE))
    assert (found["schedule"]["type"], found["schedule"]["cron"]) == ("Daily", "0 0 0 * * *")
    assert found["schedule"]["next_scheduled_time"]
    assert call("PUT", SCHEDULE, asked("Custom", "0 30 3 * * *")).status == 200
    assert content(call("GET", SCHEDULE))["schedule"]["cron"] == "0 30 3 * * *"
    assert call("PUT", SCHEDULE, asked("None")).status == 200
    assert content(call("GET", SCHEDULE)) == {}


def test_older_clients_name_operations() -> None:
    body = asked("Hourly")
    del body["parameters"]["include_event_types"]
    body["parameters"]["include_operations"] = "delete"
    assert call("PUT", SCHEDULE, body).status == 200
    try:
        schedule = purging.scheduled()
        assert schedule is not None
        included = schedule.parameters["include_event_types"]
        assert "delete_artifact" in included
        assert all(name.startswith("delete_") for name in included)
        shown = json.loads(content(call("GET", SCHEDULE))["job_parameters"])
        assert shown["include_operations"] == "delete"
        assert "include_event_types" not in shown
    finally:
        purging.unschedule()


def test_event_types_are_shown_as_they_were_sent() -> None:
    for types in ("pull_artifact,create_artifact", "create_artifact, of_a_newer_harbor"):
        assert call("PUT", SCHEDULE, asked("Hourly", include_event_types=types)).status == 200
        try:
            shown = json.loads(content(call("GET", SCHEDULE))["job_parameters"])
            assert shown["include_event_types"] == types
            schedule = purging.scheduled()
            assert schedule is not None
            assert "create_artifact" in schedule.parameters["include_event_types"]
        finally:
            purging.unschedule()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"schedule": {"type": "Manual"}},
        {"schedule": {}, "parameters": {"audit_retention_hour": 1, "include_event_types": ""}},
        asked("Sometimes"),
        asked("Custom"),
        asked("Custom", "nonsense"),
        asked(audit_retention_hour=-1),
        asked(audit_retention_hour=240_001),
        asked(audit_retention_hour="24"),
        asked(audit_retention_hour=True),
        asked(dry_run="no"),
        asked(include_event_types=None),
    ],
)
def test_what_says_nothing_sensible_is_refused(body: dict[str, Any]) -> None:
    assert call("POST", SCHEDULE, body).status == 400
    assert call("PUT", SCHEDULE, body).status == 400
    assert purging.scheduled() is None


def test_only_who_may_purge_sees_purges() -> None:
    name, _ = new_user()
    for method, url, body in (
        ("GET", "/system/purgeaudit", None),
        ("GET", "/system/purgeaudit/1", None),
        ("PUT", "/system/purgeaudit/1", None),
        ("GET", "/system/purgeaudit/1/log", None),
        ("GET", SCHEDULE, None),
        ("POST", SCHEDULE, asked()),
        ("PUT", SCHEDULE, asked()),
    ):
        assert as_user(name, method, url, body).status == 403
        assert call(method, url, body, admin=False).status == 401
