"""What the environment asks of `make run`, checked before anything is started. docs/settings.md lists every setting."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.parameters import ENVIRONMENT, PARAMETERS

_LOOPBACK = re.compile(r"(.+\.)?localhost|127\.0\.0\.1")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_PLACED_HERE = ("RelayUrl", "S3PublicEndpoint", "LogLevel")
"""Parameters that follow from where things run, or whose variables are not Berth's."""

FUNCTION_SETTINGS = {
    name: value["Ref"]
    for name, value in ENVIRONMENT.items()
    if isinstance(value, dict) and value["Ref"] in PARAMETERS and value["Ref"] not in _PLACED_HERE
}
"""The variables that go on to the functions as they are, and the stack's parameter that says what they may be."""


class StartError(Exception):
    """Why Berth cannot run, and what to do, in one line."""


@dataclass(frozen=True)
class Options:
    """Where to run, and as what."""

    state: Path
    host: str
    """The name that clients use for this machine."""
    port: int
    password: str | None
    function_settings: Mapping[str, str]

    @property
    def is_public(self) -> bool:
        """Whether clients come from other machines too."""
        return _LOOPBACK.fullmatch(self.host) is None

    @property
    def bind(self) -> str:
        return "0.0.0.0" if self.is_public else "127.0.0.1"  # noqa: S104 -- asked for by BERTH_HOST

    @property
    def registry(self) -> str:
        return f"{self.host}:{self.port}"


def from_environment(variables: Mapping[str, str] = os.environ) -> Options:
    """Read and check the settings. Raises StartError. An empty variable is one that is not set."""
    given = {name: value for name, value in variables.items() if name.startswith("BERTH_") and value}
    port = given.get("BERTH_PORT", "8080")
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise StartError(f"BERTH_PORT must be a number from 1 to 65535, not {port!r}")
    host = given.get("BERTH_HOST", "localhost")
    if not _HOST.fullmatch(host):
        raise StartError(f"BERTH_HOST must be a host name or an IPv4 address without a port, not {host!r}")
    password = given.get("BERTH_ADMIN_PASSWORD")
    if password is not None and not password.isprintable():
        raise StartError("BERTH_ADMIN_PASSWORD must not have line breaks or control characters in it")
    settings = {name: given[name] for name in FUNCTION_SETTINGS if name in given}
    for name, value in settings.items():
        _check(name, value, PARAMETERS[FUNCTION_SETTINGS[name]])
    return Options(Path(given.get("BERTH_STATE", ".berth")).resolve(), host, int(port), password, settings)


def _check(name: str, value: str, parameter: Mapping[str, object]) -> None:
    """Hold a setting to what CloudFormation would let its parameter be."""
    allowed = parameter.get("AllowedValues")
    if isinstance(allowed, list) and value not in allowed:
        raise StartError(f"{name} must be {' or '.join(allowed)}, not {value!r}")
    pattern = parameter.get("AllowedPattern")
    if isinstance(pattern, str) and not re.fullmatch(pattern, value):
        raise StartError(f"{name} must match {pattern}, not be {value!r}")
    if parameter["Type"] == "Number":
        low, high = parameter.get("MinValue", 0), parameter.get("MaxValue", 1 << 31)
        assert isinstance(low, int)  # noqa: S101 -- the parameters of these settings are whole numbers
        assert isinstance(high, int)  # noqa: S101
        if not re.fullmatch("[0-9]{1,10}", value) or not low <= int(value) <= high:
            raise StartError(f"{name} must be a number of seconds from {low} to {high}, not {value!r}")
