"""Which projects a caller may know of: the public ones, and those where the caller has a role.

A list of them costs what it shows, not what there is (docs/decisions/listing.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import own_ids
from chalicelib.access.store.robots import ALL_PROJECTS
from chalicelib.projects.records import Project
from chalicelib.projects.store import directory
from chalicelib.projects.store import projects as table
from chalicelib.projects.store.directory import Totals


@dataclass(frozen=True)
class Visibility:
    """What one caller sees: `everything`, or the public projects and `own`, private ones, by name."""

    everything: bool
    own: tuple[Project, ...] = ()

    def sees(self, project: Project) -> bool:
        return self.everything or project.public or any(each.project_id == project.project_id for each in self.own)

    def totals(self) -> dict[bool, Totals]:
        """How many public projects (True) and private ones there are to see, and repositories in them."""
        sums = directory.totals()
        if not self.everything:
            sums[False] = Totals(len(self.own), sum(project.repositories for project in self.own))
        return sums

    def names(self, public: bool | None = None) -> list[str]:
        """The names of all projects to see, in byte order, or of the public or the private ones: all are read."""
        found = directory.names(public=True) if public is not False else []
        if public is not True:
            found += directory.names(public=False) if self.everything else [project.name for project in self.own]
        return sorted(found)

    def first_names(self, pages: int) -> tuple[list[str], bool]:
        """What `names` lists, of each kind as many as so many pages of DynamoDB hold, and whether these are all."""
        found, is_complete = directory.first_names(pages, public=True)
        if not self.everything:
            return sorted([*found, *(project.name for project in self.own)]), is_complete
        private, is_whole = directory.first_names(pages, public=False)
        return sorted(found + private), is_complete and is_whole

    def names_starting(self, text: str, limit: int) -> list[str]:
        """Up to `limit` of the names that start with `text`."""
        found = directory.starting(text, limit, public=True)
        if self.everything:
            found += directory.starting(text, limit, public=False)
        else:
            found += [project.name for project in self.own if project.name.startswith(text)]
        return sorted(found)[:limit]

    def page(self, start: int, size: int, public: bool | None = None) -> list[Project]:
        """The projects with the indexes `start` up to `start + size` of those that `names` lists.

        What is skipped is read too: the cost grows with `start`, not with what follows the page.
        """
        if public is None and self.everything:
            return table.read_page(start, size)
        if public is None:
            names = sorted([*directory.page(0, start + size, public=True), *(each.name for each in self.own)])
            return read_each(names[start : start + size])
        if public or self.everything:
            return read_each(directory.page(start, size, public=public))
        return list(self.own[start : start + size])


def visibility_of(caller: Caller) -> Visibility:
    """What `caller` sees: for who sees not everything, one read of the roles and two for each hundred of them."""
    if caller.is_admin or caller.sees_catalog:
        return Visibility(everything=True)
    own = own_ids(caller)
    if ALL_PROJECTS in own:
        return Visibility(everything=True)
    return Visibility(False, tuple(project for project in table.read_each_by_id(own) if not project.public))


def read_each(names: Iterable[str]) -> list[Project]:
    """The projects of these names, in their order, but for those that are gone."""
    wanted = list(names)
    found = table.read_each(wanted)
    return [found[name] for name in wanted if name in found]
