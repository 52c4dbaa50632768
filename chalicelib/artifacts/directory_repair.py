"""Enters into the directory what was made before there was one: part of every deploy, and nothing to do in most."""

from __future__ import annotations

from chalicelib.projects import rules
from chalicelib.projects.store import directory
from chalicelib.registry.store import repositories


def complete() -> None:
    """Enter each project that is not entered, after the names of its repositories.

    What is killed half-way is gone on with by the next deploy. A project that changes meanwhile is tried again.
    """
    missing = {project.name for project in rules.list_all()} - _entered()
    while missing:
        for project in rules.list_all():
            if project.name in missing:
                for repository in repositories.read_all(project.name):
                    repositories.enter_name(repository.name)
                directory.enter(project)
        missing &= {project.name for project in rules.list_all()} - _entered()


def _entered() -> set[str]:
    return {*directory.names(public=True), *directory.names(public=False)}
