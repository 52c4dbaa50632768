"""Harbor's tag `configure`: the system's configuration."""

from __future__ import annotations

from chalicelib.access import configuration
from chalicelib.api.guards import refusal, require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.http import Response


@operation("GET", "/configurations")
def get_configurations(call: Call) -> Response:
    require_system(call.caller, "configuration", "read")
    shown = configuration.shown().items()
    return json_response({name: {"value": value, "editable": editable} for name, (value, editable) in shown})


@operation("GET", "/internalconfig")
def get_internal_configurations(call: Call) -> Response:
    """Between Harbor's own parts: with credentials of theirs, which no account has."""
    raise refusal(call.caller)


@operation("PUT", "/configurations")
def update_configurations(call: Call) -> Response:
    require_system(call.caller, "configuration", "update")
    configuration.update(json_body(call.request), call.actor)
    return Response(200)
