"""An upstream registry, as the rest of Berth sees it."""

from __future__ import annotations

from dataclasses import dataclass

HEALTHY, UNHEALTHY = "healthy", "unhealthy"
"""Harbor's (src/pkg/reg/model/registry.go)."""


@dataclass(frozen=True)
class Endpoint:
    """What Harbor calls a registry. Times are milliseconds since 1970.

    `version` is fresh whenever somebody changes how the registry is reached, and not when only `status` or `projects`
    change: what is cached of an endpoint is cached by its version.
    """

    number: int
    name: str
    type: str
    """One of chalicelib/upstreams/providers.py."""
    url: str
    """Of http or https, without a slash at its end."""
    insecure: bool
    """Whether the server's certificate is not checked."""
    description: str
    ca_certificate: str
    """Certificates (PEM) that the server's must come from, instead of those that everybody trusts; empty for none."""
    access_key: str
    """The user's name; empty for nobody."""
    secret: str
    """The name under which Secrets Manager has the password; empty when there is none."""
    status: str
    projects: int
    """How many projects pull through from it."""
    version: str
    created: int
    updated: int
