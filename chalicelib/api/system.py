"""Harbor's tags `health`, `ping` and `systeminfo`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from chalicelib.access import configuration
from chalicelib.api import probes
from chalicelib.api.errors import NotFoundError
from chalicelib.api.guards import require_system
from chalicelib.api.operations import Call, json_response, operation
from chalicelib.http import Response
from chalicelib.oci.errors import Unavailable
from chalicelib.projects.usage import stored
from chalicelib.storage.aws_json import RefusedError
from chalicelib.timed_cache import TimedCache

HARBOR_VERSION = "v2.16.0"
"""The Harbor whose API this is: clients read it to learn what they may call."""

_VOLUME = (1 << 53) - 1
"""Bytes: the largest number that every reader of JSON holds exactly (RFC 8259, section 6)."""

_COMPONENTS: dict[str, Callable[[], None]] = {
    "database": probes.database,
    "storage": probes.storage,
    "secrets": probes.signing_key,
}

_HEALTHY_SECONDS = 5
_healthy: TimedCache[str, dict[str, str]] = TimedCache(len(_COMPONENTS))
"""What answered a moment ago is not asked again: anyone may ask for the health, and Secrets Manager charges by call."""


@operation("GET", "/health")
def get_health(_call: Call) -> Response:
    """Harbor answers 200 whatever the health; `status` is healthy only when every component is.

    The components are asked side by side: a store that is down is asked again for seconds, and all of them after one
    another would outlast the gateway.
    """
    with ThreadPoolExecutor(len(_COMPONENTS)) as pool:
        components = list(pool.map(_component, _COMPONENTS, _COMPONENTS.values()))
    healthy = all(component["status"] == "healthy" for component in components)
    return json_response({"status": "healthy" if healthy else "unhealthy", "components": components})


@operation("GET", "/ping")
def get_ping(_call: Call) -> Response:
    return Response(200, {"Content-Type": "text/plain"}, b"Pong")


@operation("GET", "/systeminfo")
def get_system_info(call: Call) -> Response:
    """As Harbor does, an anonymous caller learns only how to log in, a user the rest."""
    present = configuration.current()
    info: dict[str, Any] = {
        "auth_mode": present.auth_mode,
        "primary_auth_mode": present.primary_auth_mode,
        "self_registration": present.self_registration,
        "oidc_provider_name": present.oidc_name if present.auth_mode == configuration.OIDC_AUTH else "",
        "banner_message": present.banner_message,
    }
    if call.caller.number or call.caller.robot:
        origin = call.request.origin
        info |= {
            "harbor_version": HARBOR_VERSION,
            "current_time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "external_url": origin,
            "registry_url": origin.partition("://")[2],
            "project_creation_restriction": present.project_creation_restriction,
            "has_ca_root": False,
            "read_only": present.read_only,
            "notification_enable": present.notification_enable,
        }
    return json_response(info)


@operation("GET", "/systeminfo/getcert")
def get_cert(_call: Call) -> Response:
    """As in Harbor, there is none to give where clients trust the registry's certificate as it is."""
    raise NotFoundError("there is no certificate of an authority to trust")


@operation("GET", "/systeminfo/volumes")
def get_volumes(call: Call) -> Response:
    """What is stored and what still fits. S3 has no end, so the volume is as large as numbers in JSON can tell."""
    require_system(call.caller, "system-volumes", "read")
    used = stored()
    return json_response({"storage": [{"total": _VOLUME, "free": max(0, _VOLUME - used)}]})


def _component(name: str, probe: Callable[[], None]) -> dict[str, str]:
    known = _healthy.get(name)
    if known is not None:
        return known[0]
    try:
        probe()
    except (Unavailable, RefusedError) as error:
        # The kind of error only: its text may name hosts and accounts, and anyone may ask.
        return {"name": name, "status": "unhealthy", "error": type(error).__name__}
    return _healthy.put(name, {"name": name, "status": "healthy"}, _HEALTHY_SECONDS)
