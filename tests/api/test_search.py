"""Search and statistics: what is found and counted, for whom, and at which cost."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chalicelib.access import members
from chalicelib.access.roles import Role
from chalicelib.artifacts import catalog, repository_deletion
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from chalicelib.projects.store import directory
from tests.access.support import BASIC, bearer, token_for
from tests.api.people import as_user, content, new_user
from tests.api.support import call
from tests.registry.images import push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("administrator")


def new_project(name: str, *, public: bool = False) -> Project:
    return rules.create(name, "admin", public=public)


def names(found: dict[str, Any]) -> tuple[list[str], list[str]]:
    return [each["name"] for each in found["project"]], [each["repository_name"] for each in found["repository"]]


def test_names_that_hold_the_text_are_found_for_who_may_see_them() -> None:
    mark = uuid.uuid4().hex[:10]
    private, public = new_project(f"shut-{mark}"), new_project(f"x{uuid.uuid4().hex[:10]}", public=True)
    push_image(f"{private.name}/app")
    push_image(f"{public.name}/team/{mark}")
    push_image(f"{public.name}/other")
    stranger, member = new_user(), new_user()
    members.add(private, Role.LIMITED_GUEST, member[1])
    seen = ([], [f"{public.name}/team/{mark}"])
    all_of_it = ([private.name], [f"{private.name}/app", f"{public.name}/team/{mark}"])
    assert names(content(call("GET", f"/search?q={mark}"))) == all_of_it
    assert names(content(as_user(member[0], "GET", f"/search?q={mark}"))) == all_of_it
    assert names(content(as_user(stranger[0], "GET", f"/search?q={mark}"))) == seen
    assert names(content(call("GET", f"/search?q={mark}", admin=False))) == seen
    [entry] = content(call("GET", f"/search?q={mark}", admin=False))["repository"]
    assert (entry["project_id"], entry["project_public"], entry["artifact_count"]) == (public.project_id, True, 1)


@pytest.mark.parametrize("query", ["", "?q="])
def test_a_search_needs_a_text(query: str) -> None:
    assert call("GET", f"/search{query}").status == 400


def test_a_text_that_no_name_holds_finds_nothing() -> None:
    assert content(call("GET", "/search?q=%7C%F0%9F%98%80")) == {"project": [], "repository": []}


def test_a_search_reads_names_only() -> None:
    project = new_project(f"cost-{uuid.uuid4().hex[:8]}")
    for index in range(3):
        push_image(f"{project.name}/app{index}")
    call("GET", "/search?q=nothing")
    with counted() as calls:
        assert names(content(call("GET", f"/search?q={uuid.uuid4().hex}"))) == ([], [])
    assert calls == [("dynamodb", "Query")] * len(calls)
    assert len(calls) <= 4, "two of projects' names, one of repositories' and one that finds no more of them"


def counts(name: str = "") -> dict[str, int]:
    response = as_user(name, "GET", "/statistics") if name else call("GET", "/statistics")
    found: dict[str, int] = content(response)
    return found


def test_statistics_follow_every_change() -> None:
    user, number = new_user()
    before, own = counts(), counts(user)
    private = new_project(f"counted-{uuid.uuid4().hex[:8]}")
    public = new_project(f"counted-{uuid.uuid4().hex[:8]}", public=True)
    members.add(private, Role.GUEST, number)
    stored = 0
    for repository in (f"{private.name}/a", f"{private.name}/b", f"{public.name}/a"):
        _, manifest = push_image(repository)
        stored += len(manifest) + 16 + 2 * 32
    after = counts()
    grown = {name: after[name] - before[name] for name in after}
    assert grown == {
        "total_project_count": 2,
        "public_project_count": 1,
        "private_project_count": 1,
        "total_repo_count": 3,
        "public_repo_count": 1,
        "private_repo_count": 2,
        "total_storage_consumption": stored,
    }
    seen = counts(user)
    assert (seen["private_project_count"], seen["private_repo_count"]) == (1, 2)
    assert seen["public_repo_count"] == own["public_repo_count"] + 1
    assert (seen["total_project_count"], seen["total_repo_count"], seen["total_storage_consumption"]) == (0, 0, 0)
    repository_deletion.delete(f"{private.name}/a")
    assert counts()["total_repo_count"] == after["total_repo_count"] - 1


def test_statistics_are_for_who_has_logged_in() -> None:
    assert call("GET", "/statistics", admin=False).status == 401
    token = bearer(token_for(BASIC, "repository:library/a:pull"))
    assert call("GET", "/statistics", admin=False, headers=token).status == 401


def test_a_summary_tells_of_members_to_who_may_list_them() -> None:
    project = new_project(f"summed-{uuid.uuid4().hex[:8]}", public=True)
    guest, limited, stranger = new_user(), new_user(), new_user()
    members.add(project, Role.GUEST, guest[1])
    members.add(project, Role.LIMITED_GUEST, limited[1])
    url = f"/projects/{project.name}/summary"
    assert content(as_user(guest[0], "GET", url))["limited_guest_count"] == 1
    assert "limited_guest_count" not in content(as_user(limited[0], "GET", url))
    assert "guest_count" not in content(as_user(stranger[0], "GET", url))
    assert content(call("GET", url, admin=False))["repo_count"] == 0


def test_a_search_makes_no_more_calls_than_it_may_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = uuid.uuid4().hex[:8]
    project = new_project(f"zz-{mark}")
    for index in range(4):
        push_image(f"{project.name}/app{index}")
    whole = call("GET", f"/search?q={mark}")
    assert whole.headers["X-Search-Complete"] == "true"
    monkeypatch.setattr(catalog, "SEARCH_CALLS", 2)
    monkeypatch.setattr(catalog, "_NAMES_AT_ONCE", 1)
    with counted() as calls:
        cut = call("GET", f"/search?q={uuid.uuid4().hex}")
    assert cut.headers["X-Search-Complete"] == "false"
    assert len(calls) <= 2 + 2 + 1, "the projects' of each kind, the repositories', and those that start so"
    assert not content(call("GET", f"/search?q={mark}"))["repository"]
    found = call("GET", f"/search?q=zz-{mark}")
    assert names(content(found)) == names(content(whole))
    member, number = new_user()
    members.add(project, Role.GUEST, number)
    assert names(content(as_user(member, "GET", f"/search?q=zz-{mark}"))) == names(content(whole))
    stranger, _ = new_user()
    assert names(content(as_user(stranger, "GET", f"/search?q=zz-{mark}"))) == ([], [])


def test_projects_beyond_what_a_search_reads_are_found_by_their_start(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = uuid.uuid4().hex[:8]
    project = new_project(f"zz-{mark}")
    monkeypatch.setattr(directory, "first_names", lambda *_, **__: ([], False))
    assert names(content(call("GET", f"/search?q=zz-{mark}")))[0] == [project.name]
    assert names(content(call("GET", f"/search?q={mark}")))[0] == []
