"""Harbor's tag `search`: projects and repositories whose names hold a text, among those that the caller may see.

DynamoDB finds no text inside of a key, so names are read: the directory's of projects and the catalog's of
repositories, some ten thousand a call, until the answer is full or there were SEARCH_CALLS of each
(docs/decisions/listing.md). What the projects and repositories hold is read of those that are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from chalicelib.access.authentication import Caller
from chalicelib.access.visibility import read_each, visibility_of
from chalicelib.api.errors import BadRequestError
from chalicelib.api.operations import Call, json_response, operation
from chalicelib.api.project import to_json
from chalicelib.artifacts import catalog
from chalicelib.http import Response
from chalicelib.oci.names import project_of
from chalicelib.registry.store import repositories as table

_PROJECTS = 100
_REPOSITORIES = 1000
"""Harbor answers with all there are; a Lambda's answer may have 6 MB."""

_COMPLETE = "X-Search-Complete"
"""Berth's own: `false` when there were more names than a search reads."""

_SIDE_BY_SIDE = 8


@operation("GET", "/search")
def search(call: Call) -> Response:
    text = call.request.query.get("q")
    if not text:
        raise BadRequestError("q is required")
    visible = visibility_of(call.caller)
    known, is_complete = visible.first_names(catalog.SEARCH_CALLS)
    starting = [] if is_complete else visible.names_starting(text, _PROJECTS)
    projects = sorted({*starting, *(name for name in known if text in name)})
    repositories = catalog.holding(None if visible.everything else frozenset(known), text, _REPOSITORIES)
    answer = {"project": _projects(call.caller, projects[:_PROJECTS]), "repository": _repositories(repositories.names)}
    return json_response(answer, headers={_COMPLETE: str(is_complete and repositories.is_complete).lower()})


def _projects(caller: Caller, names: Sequence[str]) -> Sequence[dict[str, Any]]:
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return list(pool.map(lambda project: to_json(project, caller, counted=True), read_each(names)))


def _repositories(names: Sequence[str]) -> Sequence[dict[str, Any]]:
    found = table.read_each(names)
    projects = {project.name: project for project in read_each({project_of(name) for name in names})}
    return [
        {
            "project_id": project.project_id,
            "project_name": project.name,
            "project_public": project.public,
            "repository_name": name,
            "pull_count": found[name].pulls,
            "artifact_count": found[name].artifacts,
        }
        for name in names
        if name in found and (project := projects.get(project_of(name))) is not None
    ]
