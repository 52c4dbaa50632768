"""Harbor's tag `repository`: list, look at, describe and delete the repositories of a project."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chalicelib.access.visibility import Visibility, read_each, visibility_of
from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import repository_name, require_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import Window, page, window
from chalicelib.api.query import Selection, selection
from chalicelib.artifacts import catalog, repositories, repository_deletion
from chalicelib.http import Response
from chalicelib.oci.names import number_of, project_of
from chalicelib.projects.records import Project
from chalicelib.registry.store import repositories as table
from chalicelib.registry.store.repositories import Repository

_FIELDS = (
    *("id", "repository_id", "project_id", "name", "description"),
    *("artifact_count", "pull_count", "creation_time", "update_time"),
)
_BLOB = "blob_digest"
"""By this, Harbor's replication looks for a repository to mount a blob from. None is named: the blob is sent then."""
_PROJECTS_LIMIT = 2000
"""Projects whose repositories a filter or another order reads, a query each: some seconds, and anyone may ask."""
_DESCRIPTION_LENGTH = 64 * 1024


@operation("GET", "/projects/{project_name}/repositories")
def list_repositories(call: Call) -> Response:
    """By name, or as `sort` says. The pages of that order are read on their own; other orders and `q` read all."""
    project = require_project(call, "repository", "list")
    chosen = selection(call.request, (*_FIELDS, _BLOB), _FIELDS)
    by_name = chosen.order or (("name", False),)
    if chosen.tests or by_name[0][0] != "name":
        part = page(call.request, _selected(chosen, [project]))
        return json_response(part.entries, headers=part.headers)
    asked = window(call.request)
    found = table.read_page(project.name, asked.start, asked.size, descending=by_name[0][1])
    headers = asked.headers(project.repositories)
    return json_response([_to_json(project, each) for each in found], headers=headers)


@operation("GET", "/repositories")
def list_all_repositories(call: Call) -> Response:
    """The repositories of every project that the caller may see, by name; `q` and other orders read them all."""
    chosen, asked = selection(call.request, (*_FIELDS, _BLOB), _FIELDS), window(call.request)
    visible = visibility_of(call.caller)
    if chosen.tests or chosen.order:
        part = page(call.request, _selected(chosen, _projects_to_read(chosen, visible)))
        return json_response(part.entries, headers=part.headers)
    total = sum(each.repositories for each in visible.totals().values())
    return json_response(_page_of_all(visible, asked), headers=asked.headers(total))


def _projects_to_read(chosen: Selection, visible: Visibility) -> Iterable[Project]:
    """The projects whose repositories are to be read. Raises BadRequestError when they are too many."""
    if _BLOB in chosen.tests:
        return ()
    named = visible.names()
    if len(named) > _PROJECTS_LIMIT:
        raise BadRequestError("there are too many projects to filter or sort their repositories: use /search")
    return read_each(named)


def _selected(chosen: Selection, projects: Iterable[Project]) -> list[dict[str, Any]]:
    """Of all repositories of the projects, those that `q` selects."""
    entries = [_to_json(project, each) for project in projects for each in table.read_all(project.name)]
    return chosen.of(entries, lambda entry: {**entry, "repository_id": entry["id"]})


def _page_of_all(visible: Visibility, asked: Window) -> list[dict[str, Any]]:
    names = catalog.page(visible, asked.start, asked.size)
    found = table.read_each(names)
    projects = {project.name: project for project in read_each({project_of(name) for name in names})}
    return [
        _to_json(projects[project_of(name)], found[name])
        for name in names
        if name in found and project_of(name) in projects
    ]


@operation("GET", "/projects/{project_name}/repositories/{repository_name}")
def get_repository(call: Call) -> Response:
    project = require_project(call, "repository", "read")
    return json_response(_to_json(project, repositories.get(repository_name(call))))


@operation("PUT", "/projects/{project_name}/repositories/{repository_name}")
def update_repository(call: Call) -> Response:
    require_project(call, "repository", "update")
    description = fields.text(json_body(call.request), "description", "")
    fields.require_length("description", description, _DESCRIPTION_LENGTH)
    repositories.describe(repository_name(call), description)
    return Response(200)


@operation("DELETE", "/projects/{project_name}/repositories/{repository_name}")
def delete_repository(call: Call) -> Response:
    require_project(call, "repository", "delete")
    repository_deletion.delete(repository_name(call), call.actor)
    return Response(200)


def _to_json(project: Project, repository: Repository) -> dict[str, Any]:
    """The swagger's Repository."""
    return {
        "id": number_of(repository.name),
        "project_id": project.project_id,
        "name": repository.name,
        "description": repository.description,
        "artifact_count": repository.artifacts,
        "pull_count": repository.pulls,
        "creation_time": fields.time(repository.created),
        "update_time": fields.time(repository.updated),
    }
