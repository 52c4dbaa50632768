"""The one route of what a browser logs in and out by, Harbor's paths under `/c`."""

from __future__ import annotations

from urllib.parse import unquote

from chalice.app import Blueprint

from chalicelib.chalice_http import ExactResponse, to_chalice, to_request

blueprint = Blueprint(__name__)

PREFIX = "/c"


@blueprint.route(f"{PREFIX}/{{proxy+}}", methods=["GET", "POST"], content_types=[])
def console() -> ExactResponse:
    from chalicelib.console.login import handle  # noqa: PLC0415 -- a pull does without

    current = blueprint.current_request
    path = f"{PREFIX}/{unquote((current.uri_params or {})['proxy'])}"
    return to_chalice(handle(to_request(current, path)))
