"""All operations of the API, and the function that answers a request by one of them.

Importing the modules of the operations fills the table that operations.handle looks in. Nothing imports this module
before the first request of the API (routes.py): a pull does without, and its cold start is a client's wait.
"""

from __future__ import annotations

from chalicelib.api import (  # noqa: F401 -- their operations register on import
    artifact,
    auditlog,
    immutable,
    label,
    member,
    operations,
    permissions,
    project,
    project_metadata,
    repository,
    robot,
    search,
    statistic,
    system,
    user,
)
from chalicelib.observability import observed

handle = observed(operations.handle)
