"""Deleting projects, with all that is theirs.

A repository is added to the catalog in a transaction that requires its project to be live
(registry/store/manifests.py). Deleting a project marks it first, and only then asks the catalog, strongly
consistent, for a repository. So of a push that makes the first repository and a delete, one sees the other:
either the delete finds the repository and takes its mark back, or the push finds the mark and is refused. The
mark is fresh each time and the removal names it, so a second delete, or one that was killed half-way and is
tried again, takes over instead of acting on what the first one saw. What a killed delete leaves is a project
that can be pulled from and that takes no new repositories until it is deleted again.
"""

from __future__ import annotations

from chalicelib.access.store import robots as robot_table
from chalicelib.artifacts import labels
from chalicelib.artifacts import store as recounts
from chalicelib.events.records import JOBS, Actor
from chalicelib.projects import rules
from chalicelib.projects.errors import NotEmptyError, NotFoundError
from chalicelib.projects.records import Project
from chalicelib.projects.store import allowlists as allowlist_table
from chalicelib.projects.store import members as member_table
from chalicelib.projects.store import projects as table
from chalicelib.projects.store import usage
from chalicelib.proxycache import refreshes
from chalicelib.proxycache.store import traffic
from chalicelib.retention import policies
from chalicelib.retention.store import RETENTION_ID
from chalicelib.webhooks.store import policies as webhook_table


def delete(project: Project, actor: Actor = JOBS) -> None:
    """Delete an empty project (the module's docstring says how). Raises NotEmptyError or NotFoundError."""
    mark = table.mark_deleting(project)
    if mark is None:
        raise NotFoundError(f"project {project.name} not found")
    if table.has_repositories(project.name):
        table.unmark_deleting(project, mark)
        raise NotEmptyError(f"the project {project.name} contains repositories, can not be deleted")
    removed = table.delete(
        rules.get(project.name), mark, rules.event_of("delete", project.name, project.project_id, actor)
    )
    rules.forget(project.name)
    if removed:
        labels.delete_all(project.project_id)
        allowlist_table.delete(project.project_id)
        for member in member_table.read_all(project.project_id):
            member_table.delete(member)
        robot_table.delete_all(project.project_id)
        usage.delete_all(project.project_id)
        traffic.delete(project.project_id)
        recounts.delete(project.project_id)
        webhook_table.delete_all(project.project_id)
        if RETENTION_ID in project.metadata:
            policies.forget(int(project.metadata[RETENTION_ID]))
        if project.is_proxy:
            refreshes.forget(project.project_id)
    if not removed:
        raise NotFoundError(f"project {project.name} is being deleted by another request")
