"""The system's configuration: Harbor's keys, as far as something in Berth obeys them.

`current()` is what the rest of Berth asks. The keys and their defaults are Harbor's
(src/lib/config/metadata/metadatalist.go). Of what nothing obeys (LDAP, UAA, the HTTP authentication proxy) there are
no keys here, and setting one is refused. FIXED keys are shown and cannot be changed: Berth is never read-only, robots'
prefix is part of their logins, and tokens live as long as the deployment says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from chalicelib.access.errors import InvalidError
from chalicelib.auditing.records import JOBS, Actor, Event
from chalicelib.registry.errors import Unavailable
from chalicelib.settings import settings
from chalicelib.storage import accounts as accounts_table
from chalicelib.storage import configuration as table
from chalicelib.storage import unlogged
from chalicelib.storage.robots import LOGIN_PREFIX
from chalicelib.timed_cache import TimedCache

DB_AUTH = "db_auth"
OIDC_AUTH = "oidc_auth"
CLIENT_SECRET = "oidc_client_secret"  # noqa: S105 -- the key's name
"""Set like a key, kept in Secrets Manager, never shown."""

_KNOWN_SECONDS = 30
_ATTEMPTS = 8
_TEXT_LIMIT = 2048
_NUMBER_LIMIT = 9_999_999_999
"""Harbor's, of numbers of days and minutes."""


@dataclass(frozen=True)
class Configuration:
    """Every key under Harbor's name, with Harbor's default."""

    auth_mode: str = DB_AUTH
    primary_auth_mode: bool = False
    self_registration: bool = False
    project_creation_restriction: str = "everyone"
    session_timeout: int = 60
    """Minutes without a request, after which a console's session ends."""
    robot_token_duration: int = 30
    """Days that a robot lives whose maker does not say how long."""
    robot_name_prefix: str = LOGIN_PREFIX
    token_expiration: int = 30
    """Minutes; shown as the deployment has it."""
    quota_per_project_enable: bool = True
    storage_per_project: int = -1
    """Bytes that a new project may hold; -1 for no limit."""
    read_only: bool = False
    banner_message: str = ""
    notification_enable: bool = True
    """Whether webhooks are told of anything; what happens while they are not, they are not told later."""
    disabled_audit_log_event_types: str = ""
    """The types of events that the audit log leaves out, such as `pull_artifact`, separated by commas."""
    oidc_name: str = ""
    oidc_endpoint: str = ""
    """The issuer: its discovery page is below it."""
    oidc_client_id: str = ""
    oidc_scope: str = ""
    """Separated by commas, as Harbor has them."""
    oidc_user_claim: str = ""
    oidc_groups_claim: str = ""
    oidc_group_filter: str = ""
    oidc_admin_group: str = ""
    oidc_auto_onboard: bool = False
    oidc_verify_cert: bool = True
    oidc_extra_redirect_parms: str = "{}"
    oidc_logout: bool = False


FIXED = frozenset({"read_only", "robot_name_prefix", "token_expiration"})

_cache: TimedCache[str, Configuration] = TimedCache(1)
_TYPES = {field.name: type(field.default) for field in fields(Configuration)}


def current() -> Configuration:
    """The configuration, at most half a minute old: one read then, none until."""
    cached = _cache.get("")
    return cached[0] if cached else _cache.put("", _of(table.read().values), _KNOWN_SECONDS)


def shown() -> dict[str, tuple[Any, bool]]:
    """Every key's value as it is now, and whether it can be changed."""
    fixed = FIXED if auth_mode_can_change() else FIXED | {"auth_mode"}
    return {name: (value, name not in fixed) for name, value in asdict(_of(table.read().values)).items()}


def auth_mode_can_change() -> bool:
    """As in Harbor, only while there is no user beside the administrator: the others could not log in any more."""
    return not accounts_table.has_users()


def update(changes: Mapping[str, Any], actor: Actor = JOBS) -> None:
    """Set keys. Raises InvalidError, naming the key, when one cannot be set so: then none is. Unavailable when busy."""
    for name, value in changes.items():
        _require_valid(name, value)
    wanted = {name: value for name, value in changes.items() if name != CLIENT_SECRET}
    for _ in range(_ATTEMPTS):
        stored = table.read()
        present = asdict(_of(stored.values))
        changed = {name: value for name, value in wanted.items() if value != present[name]}
        _require_changeable(changed)
        description = f"update configuration: {', '.join(sorted(changed))}"
        event = Event("update", "configuration", "configuration", actor, description=description)
        if not changed or table.replace(stored, {**stored.values, **changed}, event):
            break
    else:
        raise Unavailable("the configuration is being changed by others")
    if changes.get(CLIENT_SECRET):
        # The console sends the empty field back that it was shown: that is no new secret.
        table.write_client_secret(changes[CLIENT_SECRET])
    _cache.clear()


def client_secret() -> str:
    """What Berth proves itself by to the OIDC provider."""
    return table.read_client_secret()


def _of(values: Mapping[str, Any]) -> Configuration:
    known = {name: value for name, value in values.items() if name in _TYPES}
    return Configuration(**{**known, "token_expiration": max(1, settings().token_seconds // 60)})


def _require_valid(name: str, value: Any) -> None:
    kind = str if name == CLIENT_SECRET else _TYPES.get(name)
    if kind is None:
        raise InvalidError(f"{name[:64]} is no setting of Berth's")
    if type(value) is not kind:
        raise InvalidError(f"{name} must be {_NAMES[kind]}")
    if isinstance(value, str) and len(value) > _TEXT_LIMIT:
        raise InvalidError(f"{name} may have {_TEXT_LIMIT} characters")
    rule = _RULES.get(name)
    if rule is not None and not rule(value):
        raise InvalidError(f"{name} is not valid: {value!r}"[:300])


def _require_changeable(changed: Mapping[str, Any]) -> None:
    for name in FIXED & changed.keys():
        raise InvalidError(f"{name} cannot be changed in Berth")
    if "auth_mode" in changed and not auth_mode_can_change():
        raise InvalidError("the auth mode cannot be modified as new users have been inserted into database")


_NAMES = {str: "a string", int: "a whole number", bool: "true or false"}


def _is_positive(value: int) -> bool:
    return 0 < value <= _NUMBER_LIMIT


def _is_storage(value: int) -> bool:
    return value == -1 or 0 < value <= 1 << 50


def _is_endpoint(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return not value or (parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query)


def _is_scope(value: str) -> bool:
    return not value or "openid" in [scope.strip() for scope in value.split(",")]


def _is_pattern(value: str) -> bool:
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return False
    return len(value) <= 255


def _are_event_types(value: str) -> bool:
    from chalicelib.auditing.log import EVENT_TYPES  # noqa: PLC0415 -- a login does without the log's reading

    return unlogged.names(value) <= set(EVENT_TYPES)


def _is_text_map(value: str) -> bool:
    try:
        content = json.loads(value or "{}")
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and all(isinstance(each, str) for each in content.values())


_RULES: Mapping[str, Callable[[Any], bool]] = {
    "auth_mode": lambda value: value in (DB_AUTH, OIDC_AUTH),
    "project_creation_restriction": lambda value: value in ("everyone", "adminonly"),
    "session_timeout": _is_positive,
    "robot_token_duration": _is_positive,
    "storage_per_project": _is_storage,
    "disabled_audit_log_event_types": _are_event_types,
    "oidc_endpoint": _is_endpoint,
    "oidc_scope": _is_scope,
    "oidc_group_filter": _is_pattern,
    "oidc_extra_redirect_parms": _is_text_map,
}
