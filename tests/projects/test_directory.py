"""The directory of projects and repositories: always exact, whoever changes what at the same time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib import project_deletion
from chalicelib.artifacts import directory_repair, repository_deletion
from chalicelib.projects import rules
from chalicelib.projects.errors import ChangedError
from chalicelib.projects.records import Project
from chalicelib.projects.store import directory
from chalicelib.projects.store.directory import Totals
from chalicelib.registry.store import repositories as table
from chalicelib.storage.tables.projects import ListedItem, TotalsItem
from chalicelib.storage.tables.repositories import NameItem
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("cloud")


def new_project(*, public: bool = False) -> Project:
    return rules.create(f"listed-{uuid.uuid4().hex[:10]}", "admin", public=public)


def names_of(project: str) -> list[str]:
    return [name for name in _all_names() if name.startswith(f"{project}/")]


def _all_names() -> Iterator[str]:
    found = table.names("", 1000)
    while found:
        yield from found
        found = table.names(found[-1], 1000)


def require_exact() -> None:
    """The directory says of every project and repository what the projects and catalogs say themselves."""
    projects = rules.list_all()
    for public in (True, False):
        kind = [project for project in projects if project.public is public]
        assert directory.names(public=public) == [project.name for project in kind]
        counted = sum(len(table.read_all(project.name)) for project in kind)
        assert directory.totals()[public] == Totals(len(kind), counted)
    names = [each.name for project in projects for each in table.read_all(project.name)]
    assert list(_all_names()) == sorted(names)


def test_it_follows_projects_and_repositories() -> None:
    project = new_project()
    push_image(f"{project.name}/a")
    push_image(f"{project.name}/b")
    push_image(f"{project.name}/a", "again")
    assert names_of(project.name) == [f"{project.name}/a", f"{project.name}/b"]
    require_exact()
    rules.update(rules.get(project.name), public=True, metadata={})
    assert project.name in directory.names(public=True)
    require_exact()
    push_image(f"{project.name}/c")
    for name in "abc":
        repository_deletion.delete(f"{project.name}/{name}")
    require_exact()
    project_deletion.delete(rules.get(project.name))
    assert project.name not in directory.names(public=True)
    require_exact()


def test_a_project_that_becomes_public_while_repositories_are_added_and_deleted() -> None:
    project = new_project()

    def flip(index: int) -> None:
        for _ in range(4):
            try:
                rules.update(rules.get(project.name), public=bool(index % 2), metadata={})
            except ChangedError:
                continue

    def push(index: int) -> None:
        push_image(f"{project.name}/app{index}")
        if index % 2:
            repository_deletion.delete(f"{project.name}/app{index}")

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(action, index) for index in range(6) for action in (flip, push)]:
            done.result()
    assert names_of(project.name) == [f"{project.name}/app{index}" for index in (0, 2, 4)]
    require_exact()


def test_projects_that_are_made_at_once_are_all_counted() -> None:
    before = directory.totals()[False].projects
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: new_project(), range(24)))
    assert directory.totals()[False].projects == before + 24


def test_what_was_made_before_there_was_a_directory_is_entered_by_the_next_deploy() -> None:
    project = new_project()
    push_image(f"{project.name}/a")
    ListedItem("listed|private", project.name).delete()
    NameItem(table.NAMES, f"{project.name}/a").delete()
    part = next(item for item in TotalsItem.query("totals") if item.sk.startswith("private") and item.repositories)
    part.update(actions=[TotalsItem.projects.add(-1), TotalsItem.repositories.add(-1)])
    directory_repair.complete()
    require_exact()
    directory_repair.complete()
    require_exact()
