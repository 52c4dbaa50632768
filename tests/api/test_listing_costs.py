"""First pages cost what they show: calls and items read do not grow with what there is."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.access import members
from chalicelib.access.roles import Role
from chalicelib.http import Request, Response
from chalicelib.projects import rules
from chalicelib.storage import reads
from chalicelib.v2 import routes
from tests.access.support import BASIC, ORIGIN
from tests.api.people import as_user, content, new_user
from tests.api.support import call
from tests.registry.images import push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("administrator")

PAGE = 5


@contextlib.contextmanager
def items_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many items each call returned."""
    sizes: list[int] = []
    original = reads._call

    def observed(operation: str, request: Any) -> dict[str, Any]:
        answer = original(operation, request)
        found = answer.get("Items", [answer["Item"]] if "Item" in answer else [])
        sizes.append(len(found) + sum(len(items) for items in answer.get("Responses", {}).values()))
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(reads, "_call", observed)
        yield sizes


@pytest.fixture(scope="module")
def many(cloud: object) -> str:
    """Thirty projects, each with a repository; returns the start of their names."""
    mark = uuid.uuid4().hex[:8]
    for index in range(30):
        project = rules.create(f"a{mark}-{index:02d}", "admin", public=index % 2 == 0)
        push_image(f"{project.name}/app")
    return f"a{mark}"


# By whom and which list, the calls and the items that it may read: the page, its order, and the 32 sums.
LISTS = [
    ("admin", f"/projects?page_size={PAGE}", 4, PAGE + 32),
    ("admin", f"/projects?page_size={PAGE}&public=true", 5, 2 * PAGE + 32),
    ("user", f"/projects?page_size={PAGE}", 10 + PAGE, 3 * PAGE + 32 + 6),
    ("user", f"/projects?page_size={PAGE}&public=false", 10, PAGE + 32 + 6),
    ("admin", f"/repositories?page_size={PAGE}", 5, 3 * PAGE + 32),
    ("admin", "/statistics", 3, 32 + 64),
    ("admin", "/systeminfo/volumes", 2, 64),
    ("admin", f"/users?page_size={PAGE}", 3, PAGE + 16),
    ("user", "/statistics", 4, 32 + 6),
]


@pytest.mark.parametrize(("who", "url", "calls_most", "items_most"), LISTS)
def test_a_first_page_costs_what_it_shows(
    many: str, monkeypatch: pytest.MonkeyPatch, who: str, url: str, calls_most: int, items_most: int
) -> None:
    name, number = new_user()
    members.add(rules.get(f"{many}-01"), Role.GUEST, number)

    def send() -> Response:
        return call("GET", url) if who == "admin" else as_user(name, "GET", url)

    send()
    with counted() as calls, items_read(monkeypatch) as sizes:
        response = send()
    assert response.status == 200
    assert len(calls) <= calls_most, calls
    assert sum(sizes) <= items_most, sizes
    assert all(operation != "Scan" for _, operation in calls)


def test_the_catalog_reads_its_page(many: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with items_read(monkeypatch) as sizes:
        request = Request("GET", "/v2/_catalog", {"n": "5", "last": many}, BASIC, b"", ORIGIN)
        response = routes.handle(request)
    assert json.loads(response.body)["repositories"] == [f"{many}-{index:02d}/app" for index in range(5)]
    assert sum(sizes) <= 7


def test_pages_are_those_of_the_whole_list_for_everybody(many: str) -> None:
    name, number = new_user()
    own = [f"{many}-{index:02d}" for index in (1, 9, 29)]
    for project in own:
        members.add(rules.get(project), Role.GUEST, number)
    seen = sorted([*own, *(f"{many}-{index:02d}" for index in range(0, 30, 2))])
    for listing, key, suffix in (("/projects", "name", ""), ("/repositories", "name", "/app")):
        found: list[str] = []
        for page in range(1, 1000):
            part = content(as_user(name, "GET", f"{listing}?page_size=7&page={page}"))
            found += [each[key] for each in part]
            if not part:
                break
        assert [each for each in found if each.startswith(many)] == [f"{each}{suffix}" for each in seen]
        total = as_user(name, "GET", f"{listing}?page_size=1").headers["X-Total-Count"]
        assert int(total) == len(found)


def test_projects_are_filtered_and_sorted(many: str) -> None:
    def listed(query: str) -> list[str]:
        return [each["name"] for each in content(call("GET", f"/projects?page_size=100&name={many}{query}"))]

    everything = [f"{many}-{index:02d}" for index in range(30)]
    assert listed("") == everything
    assert listed("&sort=-name") == everything[::-1]
    assert listed("&public=false") == everything[1::2]
    assert listed("&q=public%3Dtrue") == everything[::2]
    assert listed("&owner=nobody") == []
    assert content(call("GET", f"/projects?name={many}-1&page=2&page_size=4"))[0]["name"] == f"{many}-14"
    assert call("GET", f"/projects?name={many}-1").headers["X-Total-Count"] == "10"
