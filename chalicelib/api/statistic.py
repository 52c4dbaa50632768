"""Harbor's tag `statistic`: how many projects and repositories there are, and what they store.

Nothing is counted here: the directory of projects keeps the sums (projects/store/directory.py), and who charges
projects for what they store another (chalicelib/projects/store/usage.py).
"""

from __future__ import annotations

from chalicelib.access.visibility import visibility_of
from chalicelib.api.errors import UnauthorizedError
from chalicelib.api.operations import Call, json_response, operation
from chalicelib.http import Response
from chalicelib.projects.usage import stored


@operation("GET", "/statistics")
def get_statistic(call: Call) -> Response:
    """Of what the caller may see; the totals are for the administrator, as in Harbor."""
    caller = call.caller
    if not caller.number and caller.robot is None:
        raise UnauthorizedError("unauthorized")
    sums = visibility_of(caller).totals()
    public, private = sums[True], sums[False]
    projects = repositories = storage = 0
    if caller.is_admin:
        projects, repositories = public.projects + private.projects, public.repositories + private.repositories
        storage = stored()
    return json_response(
        {
            "public_project_count": public.projects,
            "public_repo_count": public.repositories,
            "private_project_count": private.projects,
            "private_repo_count": private.repositories,
            "total_project_count": projects,
            "total_repo_count": repositories,
            "total_storage_consumption": storage,
        }
    )
