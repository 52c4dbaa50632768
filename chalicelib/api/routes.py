"""The one route of the Harbor-compatible API. Importing the operation modules fills the table that it dispatches on."""

from __future__ import annotations

from urllib.parse import unquote

from chalice.app import Blueprint

from chalicelib.api import (  # noqa: F401 -- their operations register on import
    artifact,
    label,
    member,
    operations,
    project,
    project_metadata,
    repository,
    system,
    user,
)
from chalicelib.chalice_http import ExactResponse, to_chalice, to_request
from chalicelib.observability import observed

blueprint = Blueprint(__name__)

_METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]

handle = observed(operations.handle)


@blueprint.route(f"{operations.PREFIX}/{{proxy+}}", methods=_METHODS, content_types=[])
def api() -> ExactResponse:
    current = blueprint.current_request
    path = f"{operations.PREFIX}/{unquote((current.uri_params or {})['proxy'])}"
    return to_chalice(handle(to_request(current, path)))
