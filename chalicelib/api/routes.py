"""The routes of the Harbor-compatible API: one for all of its operations, and one beside them."""

from __future__ import annotations

import json
from urllib.parse import unquote

from chalice.app import Blueprint

from chalicelib.api import PREFIX
from chalicelib.chalice_http import ExactResponse, to_chalice, to_request
from chalicelib.http import Response

blueprint = Blueprint(__name__)

_METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]


@blueprint.route("/api/version", methods=["GET"])
def version() -> ExactResponse:
    """By this Harbor's replication knows a registry as Harbor 2 (src/pkg/reg/adapter/harbor/base/client.go)."""
    body = json.dumps({"version": PREFIX.rpartition("/")[2]}).encode()
    return to_chalice(Response(200, {"Content-Type": "application/json"}, body))


@blueprint.route(f"{PREFIX}/{{proxy+}}", methods=_METHODS, content_types=[])
def api() -> ExactResponse:
    from chalicelib.api.dispatch import handle  # noqa: PLC0415 -- see its docstring

    current = blueprint.current_request
    path = f"{PREFIX}/{unquote((current.uri_params or {})['proxy'])}"
    return to_chalice(handle(to_request(current, path)))
