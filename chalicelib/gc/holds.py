"""What a project's retention rules keep, tag or not: the collector leaves it too."""

from __future__ import annotations

from chalicelib.oci.names import project_of
from chalicelib.projects import rules as projects
from chalicelib.projects.errors import NotFoundError
from chalicelib.retention import rules, survey
from chalicelib.retention import store as retentions
from chalicelib.storage.conditions import now


def retained(repository: str) -> frozenset[str]:
    """The digests that the rules retain in a repository; none where no rule is for it.

    A rule that is for the repository is asked about all its artifacts, as retention itself asks it.
    """
    try:
        project = projects.get(project_of(repository))
    except NotFoundError:
        return frozenset()
    number = project.metadata.get(retentions.RETENTION_ID)
    policy = retentions.read(int(number)) if number else None
    name = repository.partition("/")[2]
    if policy is None or not rules.concerns(policy.rules, name):
        return frozenset()
    return frozenset(rules.retained(policy.rules, name, survey.of(repository).candidates, now()) or ())
