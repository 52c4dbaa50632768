"""The one route of the token service, `/service/token`."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.access.challenges import TOKEN_PATH
from chalicelib.chalice_http import ExactResponse, to_chalice, to_request

blueprint = Blueprint(__name__)


@blueprint.route(TOKEN_PATH, methods=["GET", "POST"], content_types=[])
def token() -> ExactResponse:
    from chalicelib.access.token_service import handle  # noqa: PLC0415 -- a pull does without

    current = blueprint.current_request
    fields = current.to_original_event()["multiValueQueryStringParameters"] or {}
    return to_chalice(handle(to_request(current, TOKEN_PATH), fields))
