"""The one route of the Harbor-compatible API."""

from __future__ import annotations

from urllib.parse import unquote

from chalice.app import Blueprint

from chalicelib.api import PREFIX
from chalicelib.chalice_http import ExactResponse, to_chalice, to_request

blueprint = Blueprint(__name__)

_METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]


@blueprint.route(f"{PREFIX}/{{proxy+}}", methods=_METHODS, content_types=[])
def api() -> ExactResponse:
    from chalicelib.api.dispatch import handle  # noqa: PLC0415 -- see its docstring

    current = blueprint.current_request
    path = f"{PREFIX}/{unquote((current.uri_params or {})['proxy'])}"
    return to_chalice(handle(to_request(current, path)))
