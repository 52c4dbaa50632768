"""Records of upstream registries, for tests of what reads them."""

from __future__ import annotations

import os
from typing import Any

from chalicelib.upstreams.records import HEALTHY, Endpoint


def endpoint(url: str, **more: Any) -> Endpoint:
    """A record that is written nowhere, of a registry that anybody may pull from."""
    fields: dict[str, Any] = {
        "number": 1,
        "name": "upstream",
        "type": "docker-registry",
        "url": url,
        "insecure": False,
        "description": "",
        "ca_certificate": "",
        "access_key": "",
        "secret": "",
        "status": HEALTHY,
        "projects": 0,
        "version": os.urandom(8).hex(),
        "created": 0,
        "updated": 0,
    }
    return Endpoint(**{**fields, **more})
