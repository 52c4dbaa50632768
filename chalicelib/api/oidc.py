"""Harbor's tag `oidc`: whether a login provider answers."""

from __future__ import annotations

from chalicelib.api import fields
from chalicelib.api.guards import require_system
from chalicelib.api.operations import Call, json_body, operation
from chalicelib.http import Response


@operation("POST", "/system/oidc/ping")
def ping_oidc(call: Call) -> Response:
    """Ask for the provider's discovery page. Its fault is the caller's to mend: 400, as in Harbor."""
    from chalicelib.access.oidc import discover  # noqa: PLC0415 -- Authlib takes its time, and few ask for this

    require_system(call.caller, "configuration", "update")
    body = json_body(call.request)
    discover(fields.text(body, "url"), fields.boolean(body, "verify_cert", True))
    return Response(200)
