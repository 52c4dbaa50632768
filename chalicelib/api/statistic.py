"""Harbor's tag `statistic`: how many projects and repositories there are, and what they store.

Nothing is counted here. A project's record holds the exact number of its repositories, which changes in the
transactions that add and remove one, so the answer is a sum over the records of the projects: one query, in pages of
some thousands. What they store is the sum of what each of them is charged for, read for the administrator alone.
"""

from __future__ import annotations

from chalicelib.access.authorization import visible_projects
from chalicelib.api.errors import UnauthorizedError
from chalicelib.api.operations import Call, json_response, operation
from chalicelib.projects.usage import usage
from chalicelib.registry.http import Response


@operation("GET", "/statistics")
def get_statistic(call: Call) -> Response:
    """Of what the caller may see; the totals are for the administrator, as in Harbor."""
    caller = call.caller
    if not caller.number and caller.robot is None:
        raise UnauthorizedError("unauthorized")
    visible = visible_projects(caller)
    public = [project.repositories for project in visible if project.public]
    private = [project.repositories for project in visible if not project.public]
    totals = (0, 0, 0)
    if caller.is_admin:
        used = sum(each.used for each in usage(visible).values())
        totals = (len(visible), sum(public) + sum(private), used)
    projects, repositories, storage = totals
    return json_response(
        {
            "public_project_count": len(public),
            "public_repo_count": sum(public),
            "private_project_count": len(private),
            "private_repo_count": sum(private),
            "total_project_count": projects,
            "total_repo_count": repositories,
            "total_storage_consumption": storage,
        }
    )
