"""The `WWW-Authenticate` challenge: where to get a token, for which scope (Docker "Token Authentication",
RFC 6750).
"""

from __future__ import annotations

import re

from chalicelib.http import Request
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import parse_path

SERVICE = "berth"
TOKEN_PATH = "/service/token"  # noqa: S105 -- a path
CATALOG_SCOPE = "registry:catalog:*"

_ACTIONS = {"pull": "pull", "push": "pull,push", "delete": "delete"}
"""What a client should ask for in order to do one action: a push also looks at what is there."""

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-_:\[\]]{1,255}\Z")


def repository_scope(repository: str, action: str) -> str:
    return f"repository:{repository}:{_ACTIONS[action]}"


def needed_scope(request: Request) -> str:
    """The scope that a registry request needs, read from its path; empty when it names no repository."""
    try:
        target = parse_path(request.path)
    except RegistryError:
        return ""
    if target.kind == "catalog":
        return CATALOG_SCOPE
    if not target.repository:
        return ""
    if request.method in ("GET", "HEAD") and target.kind != "upload":
        return repository_scope(target.repository, "pull")
    deletes = request.method == "DELETE" and target.kind != "upload"
    return repository_scope(target.repository, "delete" if deletes else "push")


def challenge(request: Request, scope: str = "", error: str = "") -> dict[str, str]:
    """The header of a 401. `error` is RFC 6750's `invalid_token` or `insufficient_scope`, if any.

    The realm is on the host that the client used; a Host header that could break out of the quotes is left
    out.
    """
    origin = request.origin if _ORIGIN.match(request.origin) else ""
    parameters = {"realm": f"{origin}{TOKEN_PATH}", "service": SERVICE, "scope": scope, "error": error}
    fields = ",".join(f'{name}="{value}"' for name, value in parameters.items() if value)
    return {"WWW-Authenticate": f"Bearer {fields}"}
