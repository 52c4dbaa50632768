from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import project_deletion
from chalicelib.events.records import JOBS, Event
from chalicelib.oci.errors import NameUnknown
from chalicelib.projects import rules
from chalicelib.projects.errors import AlreadyExistsError, NameInvalidError, NotEmptyError, NotFoundError
from chalicelib.projects.records import Project
from chalicelib.projects.store import projects as table
from chalicelib.registry.store import repositories
from chalicelib.storage import aws_json
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("cloud")


def new_name() -> str:
    return f"project-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def project() -> Project:
    return rules.create(new_name(), "admin", public=False)


@contextmanager
def at_query(act: Callable[[], None]) -> Iterator[None]:
    """Do `act` once, just before the next query: between a delete's mark and its look at the catalog."""

    def handler(**_: Any) -> None:
        aws_json.events.unregister("before-call.dynamodb.Query", handler)
        act()

    aws_json.events.register("before-call.dynamodb.Query", handler)
    try:
        yield
    finally:
        aws_json.events.unregister("before-call.dynamodb.Query", handler)


def test_a_project_is_found_by_name_and_by_number(project: Project) -> None:
    assert rules.get(project.name) == project
    assert rules.get_by_id(project.project_id) == project
    assert rules.find(project.name) == project
    assert project in rules.list_all()


def test_a_name_is_taken_once(project: Project) -> None:
    with pytest.raises(AlreadyExistsError):
        rules.create(project.name, "admin", public=True)


def test_of_many_creations_at_once_one_wins_and_numbers_are_unique() -> None:
    name = new_name()

    def create(own: str) -> Project | None:
        with suppress(AlreadyExistsError):
            return rules.create(own, "admin", public=False)
        return None

    with ThreadPoolExecutor(8) as pool:
        same = [made for made in pool.map(create, [name] * 8) if made]
        others = [made for made in pool.map(create, [new_name() for _ in range(16)]) if made]
    assert len(same) == 1
    assert len({made.project_id for made in [*same, *others]}) == 17


@pytest.mark.parametrize(
    "name", ["", "A", "a/b", "-a", "a-", "a..b", "a__b", "a b", "ä", "a\n", "x" * 256, "a|b", ".."]
)
def test_a_name_outside_harbors_grammar_is_refused(name: str) -> None:
    with pytest.raises(NameInvalidError):
        rules.create(name, "admin", public=False)


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=40))
def test_no_text_that_is_not_a_repository_component_becomes_a_project(name: str) -> None:
    if rules._NAME.match(name):
        assert name == name.lower()
        assert "/" not in name
        assert "|" not in name
    else:
        with pytest.raises(NameInvalidError):
            rules.create(name, "admin", public=False)


def test_a_missing_project_is_not_remembered_once_it_is_made() -> None:
    name = new_name()
    assert rules.find(name) is None
    created = rules.create(name, "admin", public=True)
    assert rules.find(name) == created


def test_a_found_project_costs_no_read_for_a_while(project: Project) -> None:
    rules.find(project.name)
    reads: list[object] = []

    def count(**call: Any) -> None:
        reads.append(call)

    aws_json.events.register("before-call.dynamodb", count)
    for _ in range(10):
        rules.find(project.name)
    aws_json.events.unregister("before-call.dynamodb", count)
    assert reads == []


def test_an_empty_project_is_deleted_and_its_name_is_free_again(project: Project) -> None:
    project_deletion.delete(project)
    assert rules.find(project.name) is None
    with pytest.raises(NotFoundError):
        rules.get(project.name)
    with pytest.raises(NotFoundError):
        rules.get_by_id(project.project_id)
    with pytest.raises(NotFoundError):
        project_deletion.delete(project)
    assert rules.create(project.name, "admin", public=False).project_id > project.project_id


def test_a_project_with_a_repository_stays_and_takes_more(project: Project) -> None:
    push_image(f"{project.name}/a")
    assert rules.get(project.name).repositories == 1
    with pytest.raises(NotEmptyError):
        project_deletion.delete(project)
    push_image(f"{project.name}/b")
    assert rules.get(project.name).repositories == 2


def test_a_push_that_comes_behind_the_mark_is_refused(project: Project) -> None:
    def push() -> None:
        with pytest.raises(NameUnknown):
            push_image(f"{project.name}/late")

    with at_query(push):
        project_deletion.delete(project)
    assert not repositories.exists(f"{project.name}/late")


def test_a_delete_killed_behind_its_mark_is_finished_by_another(project: Project) -> None:
    assert table.mark_deleting(project)
    assert rules.get(project.name).project_id == project.project_id
    with pytest.raises(AlreadyExistsError):
        rules.create(project.name, "admin", public=False)
    project_deletion.delete(project)
    with pytest.raises(NotFoundError):
        rules.get(project.name)


def test_of_two_deletes_the_later_mark_acts(project: Project) -> None:
    with at_query(lambda: project_deletion.delete(project)), pytest.raises(NotFoundError):
        project_deletion.delete(project)
    with pytest.raises(NotFoundError):
        rules.get(project.name)


def test_a_delete_does_not_act_on_what_it_saw_before_another_let_the_project_live(project: Project) -> None:
    first = table.mark_deleting(project)
    second = table.mark_deleting(project)
    assert first is not None
    assert second is not None
    assert table.unmark_deleting(project, second)
    push_image(f"{project.name}/a")
    assert not table.delete(project, first, Event("delete", "project", project.name, JOBS))
    assert rules.get(project.name).project_id == project.project_id


def test_a_delete_of_an_earlier_project_of_the_name_leaves_the_new_one(project: Project) -> None:
    project_deletion.delete(project)
    successor = rules.create(project.name, "admin", public=False)
    with pytest.raises(NotFoundError):
        project_deletion.delete(project)
    assert rules.get(project.name) == successor


@pytest.mark.parametrize("attempt", range(5))
def test_a_first_push_and_a_delete_at_once_never_leave_a_repository_without_project(attempt: int) -> None:
    project = rules.create(new_name(), "admin", public=False)
    start = threading.Barrier(2)
    outcomes: dict[str, str] = {}

    def push() -> None:
        start.wait()
        try:
            push_image(f"{project.name}/a", layers=attempt)
        except NameUnknown:
            outcomes["push"] = "refused"

    def delete() -> None:
        start.wait()
        try:
            project_deletion.delete(project)
        except NotEmptyError:
            outcomes["delete"] = "refused"

    threads = [threading.Thread(target=each) for each in (push, delete)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if "delete" in outcomes:
        assert table.read(project.name) is not None
    else:
        assert outcomes == {"push": "refused"}
        assert table.read(project.name) is None
        assert not table.has_repositories(project.name)
