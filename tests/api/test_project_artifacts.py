"""The artifacts of a whole project."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.people import content
from tests.api.support import call
from tests.registry.accessories import attach
from tests.registry.images import push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("administrator")


@pytest.fixture
def digests(project: str) -> list[str]:
    """By repository, the newest first: two, none that is listed, and three."""
    first = [push_image(f"{project}/a", f"v{n}")[0] for n in range(2)][::-1]
    attach(f"{project}/b", first[0])
    attach(f"{project}/a", first[0])
    return first + [push_image(f"{project}/c/d", f"v{n}")[0] for n in range(3)][::-1]


def listed(project: str, query: str = "") -> list[str]:
    return [each["digest"] for each in content(call("GET", f"/projects/{project}/artifacts?{query}"))]


def test_all_are_listed_by_page(project: str, digests: list[str]) -> None:
    response = call("GET", f"/projects/{project}/artifacts")
    assert [each["digest"] for each in content(response)] == digests
    assert response.headers["X-Total-Count"] == "5"
    assert [listed(project, f"page={page}&page_size=2") for page in (1, 2, 3, 4)] == [
        digests[:2],
        digests[2:4],
        digests[4:],
        [],
    ]
    entry = content(response)[4]
    assert (entry["repository_name"], entry["tags"][0]["name"]) == (f"{project}/c/d", "v0")


def test_the_latest_of_each_repository_alone(project: str, digests: list[str]) -> None:
    response = call("GET", f"/projects/{project}/artifacts?latest_in_repository=true&page_size=1")
    assert [each["digest"] for each in content(response)] == [digests[0]]
    assert response.headers["X-Total-Count"] == "2"
    assert listed(project, "latest_in_repository=true") == [digests[0], digests[2]]
    assert listed(project, "latest_in_repository=true&sort=-repository_name") == [digests[2], digests[0]]


def test_filters_and_orders_go_over_all(project: str, digests: list[str]) -> None:
    assert listed(project, "q=tags%3Dv1") == [digests[0], digests[3]]
    assert listed(project, "sort=push_time") == [*digests[:2][::-1], *digests[2:][::-1]]
    assert listed(project, f"q=repository_name%3D{project}/c/d&page_size=1&page=3") == digests[4:]
    for bad in ("q=nonsense", "page=x", "latest_in_repository=perhaps"):
        assert call("GET", f"/projects/{project}/artifacts?{bad}").status == 400


def test_a_page_costs_what_it_shows(project: str) -> None:
    def reads() -> Any:
        with counted() as calls:
            listed(project, "page_size=2&with_tag=false")
        return calls.summary

    for number in range(3):
        push_image(f"{project}/r{number}", "v1")
    listed(project)
    before = reads()
    for number in range(3, 9):
        push_image(f"{project}/r{number}", "v1")
    assert reads() == before


def test_who_may_not_see_the_project_learns_nothing(project: str, digests: list[str]) -> None:
    answers = [call("GET", f"/projects/{each}/artifacts", admin=False) for each in (project, "no-such-project")]
    assert [answer.status for answer in answers] == [401, 401]
    assert answers[0].body == answers[1].body
