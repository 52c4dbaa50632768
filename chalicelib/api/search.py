"""Harbor's tag `search`: projects and repositories whose names hold a text, among those that the caller may see.

DynamoDB finds no text inside of a key, so the names themselves are read: one query for the projects, and one for each
project that has repositories, side by side. They read keys and counts in pages of some thousands of names, and stop
when the answer is full. So a search costs with the names that the caller may see, never with what the repositories
hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from chalicelib.access.authorization import visible_projects
from chalicelib.api.errors import BadRequestError
from chalicelib.api.operations import Call, json_response, operation
from chalicelib.api.project import to_json
from chalicelib.projects.records import Project
from chalicelib.registry.http import Response
from chalicelib.storage import repositories as table

_PROJECTS = 100
_REPOSITORIES = 1000
"""Harbor answers with all there are; a Lambda's answer may have 6 MB."""

_SIDE_BY_SIDE = 8


@operation("GET", "/search")
def search(call: Call) -> Response:
    text = call.request.query.get("q")
    if not text:
        raise BadRequestError("q is required")
    visible = visible_projects(call.caller)
    named = [project for project in visible if text in project.name][:_PROJECTS]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        projects = list(pool.map(lambda project: to_json(project, call.caller, counted=True), named))
        repositories = list(islice(_repositories(pool, visible, text), _REPOSITORIES))
    return json_response({"project": projects, "repository": repositories})


def _repositories(pool: ThreadPoolExecutor, projects: Sequence[Project], text: str) -> Iterator[dict[str, Any]]:
    filled = [project for project in projects if project.repositories]
    for start in range(0, len(filled), _SIDE_BY_SIDE):
        asked = filled[start : start + _SIDE_BY_SIDE]
        for project, found in zip(asked, pool.map(lambda each: _find(each, text), asked), strict=True):
            for name, artifacts, pulls in found:
                yield {
                    "project_id": project.project_id,
                    "project_name": project.name,
                    "project_public": project.public,
                    "repository_name": name,
                    "pull_count": pulls,
                    "artifact_count": artifacts,
                }


def _find(project: Project, text: str) -> list[tuple[str, int, int]]:
    return list(islice((each for each in table.counts(project.name) if text in each[0]), _REPOSITORIES))
