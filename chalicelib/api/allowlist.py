"""Harbor's tag `SystemCVEAllowlist`, and the allowlist in a project's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import require_account, require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.http import Response
from chalicelib.projects import allowlists
from chalicelib.projects.store.allowlists import Allowlist


@operation("GET", "/system/CVEAllowlist")
def get_system_cve_allowlist(call: Call) -> Response:
    require_account(call.caller)
    return json_response(to_json(allowlists.read(allowlists.SYSTEM)))


@operation("PUT", "/system/CVEAllowlist")
def put_system_cve_allowlist(call: Call) -> Response:
    require_system(call.caller, "configuration", "update")
    allowlists.replace(allowlists.SYSTEM, *content_of(json_body(call.request)))
    return Response(200)


def content_of(body: Mapping[str, Any]) -> tuple[list[str], int | None]:
    """The ids of a CVEAllowlist, and when it ends. Raises BadRequestError, or AllowlistInvalidError."""
    items = body.get("items")
    if items is None:
        items = []
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        raise BadRequestError("items must be a list of objects")
    ids = [fields.text(each, "cve_id") for each in items]
    expires = None if body.get("expires_at") is None else fields.number(body, "expires_at")
    allowlists.check(ids, expires)
    return ids, expires


def to_json(allowlist: Allowlist) -> dict[str, Any]:
    """The swagger's CVEAllowlist."""
    return {
        "id": allowlist.project_id,
        "project_id": allowlist.project_id,
        "items": [{"cve_id": each} for each in allowlist.ids],
        "expires_at": allowlist.expires,
        "creation_time": fields.time(allowlist.created),
        "update_time": fields.time(allowlist.updated),
    }
