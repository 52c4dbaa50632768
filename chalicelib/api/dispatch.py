"""All operations of the API, and the function that answers a request by one of them.

Importing the modules of the operations fills the table that operations.handle looks in. Nothing imports this module
before the first request of the API (routes.py): a pull does without, and its cold start is a client's wait.
"""

from __future__ import annotations

from chalicelib.api import (  # noqa: F401 -- their operations register on import
    allowlist,
    artifact,
    auditlog,
    configure,
    gc,
    immutable,
    jobservice,
    label,
    member,
    oidc,
    operations,
    permissions,
    project,
    project_metadata,
    proxy_refresh,
    purge,
    quota,
    registry,
    repository,
    retention,
    robot,
    schedule,
    search,
    statistic,
    system,
    unbuilt,
    user,
    usergroup,
    webhook,
    webhookjob,
)
from chalicelib.observability import observed

handle = observed(operations.handle)
