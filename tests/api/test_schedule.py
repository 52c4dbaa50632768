"""The list of schedules, and whether they are paused, through Harbor's API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib.jobs import schedules
from chalicelib.jobs.store import schedules as table
from chalicelib.retention.policies import RETENTION
from tests.api.people import as_user, content, new_user
from tests.api.support import call

pytestmark = pytest.mark.usefixtures("administrator")


@pytest.fixture
def scheduled() -> Iterator[int]:
    """The number of a policy that has a schedule."""
    schedules.put(RETENTION, 987_654, "Custom", "0 0 4 * * *", {})
    yield 987_654
    schedules.remove(RETENTION, 987_654)


def test_schedules_are_listed_by_page(scheduled: int) -> None:
    listed = content(call("GET", "/schedules?page_size=100"))
    [found] = [each for each in listed if each["vendor_id"] == scheduled]
    assert (found["vendor_type"], found["cron"]) == ("RETENTION", "0 0 4 * * *")
    response = call("GET", "/schedules?page_size=1")
    assert len(content(response)) == 1
    assert response.headers["X-Total-Count"] == str(len(listed))


def test_all_schedules_are_paused_by_the_schedulers_queue() -> None:
    assert content(call("GET", "/schedules/all/paused")) == {"paused": False}
    assert call("PUT", "/jobservice/queues/SCHEDULER", {"action": "pause"}).status == 200
    assert content(call("GET", "/schedules/ALL/paused")) == {"paused": True}
    assert call("PUT", "/jobservice/queues/scheduler", {"action": "resume"}).status == 200
    assert table.paused() == frozenset()
    assert call("GET", "/schedules/RETENTION/paused").status == 400


def test_who_may_what(scheduled: int) -> None:
    name, _ = new_user()
    assert as_user(name, "GET", "/schedules").status == 403
    assert as_user(name, "GET", "/schedules/all/paused").status == 200, "as in Harbor, whoever is logged in"
    assert call("GET", "/schedules", admin=False).status == 401
    assert call("GET", "/schedules/all/paused", admin=False).status == 401
