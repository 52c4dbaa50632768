"""The system's configuration: Harbor's keys, and what of them something in Berth obeys.

`current()` is what the rest of Berth asks. The keys and their defaults are Harbor's
(src/lib/config/metadata/metadatalist.go). FIXED keys are shown and cannot be changed: Berth is never read-only, and
robots' prefix is part of their logins. FOREIGN ones belong to what Berth has not, such as LDAP: they are shown with
Harbor's defaults, since its clients expect every key, and may be set to what changes nothing. As in Harbor
(src/server/v2.0/handler/config.go) null sets nothing, nor does a key that is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from urllib.parse import urlsplit

from chalicelib import retrying
from chalicelib.access.errors import InvalidError
from chalicelib.access.store import configuration as table
from chalicelib.access.store import users as accounts_table
from chalicelib.access.store.robots import LOGIN_PREFIX
from chalicelib.events import unlogged
from chalicelib.events.records import JOBS, Actor, Event
from chalicelib.oci.errors import Unavailable
from chalicelib.settings import settings
from chalicelib.timed_cache import TimedCache

DB_AUTH = "db_auth"
OIDC_AUTH = "oidc_auth"
CLIENT_SECRET = "oidc_client_secret"  # noqa: S105 -- the key's name
"""Set like a key, kept in Secrets Manager, never shown."""

_KNOWN_SECONDS = 30
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
    token_expiration: int = 0
    """Minutes that a registry token may live at most; 0 until it is set, and shown as what the deployment says then.
    What the deployment says is a limit too: its tokens are cheap to renew, and cannot be taken back."""
    quota_per_project_enable: bool = True
    storage_per_project: int = -1
    """Bytes that a new project may hold; -1 for no limit."""
    read_only: bool = False
    banner_message: str = ""
    notification_enable: bool = True
    """Whether webhooks are told of anything; what happens while they are not, they are not told later."""
    disabled_audit_log_event_types: str = ""
    """The types of events that the audit log leaves out, such as `pull_artifact`, separated by commas."""
    scanner_skip_update_pulltime: bool = False
    """Whether pulls of scanners count as none: there are no scanners yet."""
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


FIXED = frozenset({"read_only", "robot_name_prefix"})

FOREIGN: Mapping[str, Any] = {
    "ldap_base_dn": "",
    "ldap_filter": "",
    "ldap_group_admin_dn": "",
    "ldap_group_attach_parallel": False,
    "ldap_group_attribute_name": "",
    "ldap_group_base_dn": "",
    "ldap_group_membership_attribute": "memberof",
    "ldap_group_search_filter": "",
    "ldap_group_search_scope": 2,
    "ldap_scope": 2,
    "ldap_search_dn": "",
    "ldap_timeout": 5,
    "ldap_uid": "cn",
    "ldap_url": "",
    "ldap_verify_cert": True,
    "uaa_client_id": "",
    "uaa_client_secret": "",
    "uaa_endpoint": "",
    "uaa_verify_cert": False,
    "http_authproxy_admin_groups": "",
    "http_authproxy_admin_usernames": "",
    "http_authproxy_endpoint": "",
    "http_authproxy_server_certificate": "",
    "http_authproxy_skip_search": False,
    "http_authproxy_tokenreview_endpoint": "",
    "http_authproxy_verify_cert": True,
    "audit_log_forward_endpoint": "",
    "skip_audit_log_database": False,
    "scan_all_policy": {"type": "none", "parameter": {}},
}
"""Harbor's keys of what Berth has not, with Harbor's defaults."""
_NEVER_SHOWN = frozenset({"ldap_search_password"})
_DECISIVE = frozenset({"skip_audit_log_database"})
"""Of FOREIGN keys that are no text, the ones that mean something on their own: others only beside an address."""

_cache: TimedCache[str, Configuration] = TimedCache(1)
_TYPES = {field.name: type(field.default) for field in fields(Configuration)}


def current() -> Configuration:
    """The configuration, at most half a minute old: one read then, none until."""
    cached = _cache.get("")
    return cached[0] if cached else _cache.put("", _of(table.read().values), _KNOWN_SECONDS)


def shown() -> dict[str, tuple[Any, bool]]:
    """Every key's value as it is now, and whether it can be changed."""
    fixed = FIXED if auth_mode_can_change() else FIXED | {"auth_mode"}
    own = {name: (value, name not in fixed) for name, value in asdict(_shown(table.read().values)).items()}
    return own | {name: (value, False) for name, value in FOREIGN.items()}


def token_seconds() -> int:
    """How long a registry token lives: as the deployment says, or shorter where `token_expiration` is."""
    longest, minutes = settings().token_seconds, current().token_expiration
    return min(longest, minutes * 60) if minutes else longest


def auth_mode_can_change() -> bool:
    """As in Harbor, only while there is no user beside the administrator: the others could not log in any more."""
    return not accounts_table.has_users()


def update(changes: Mapping[str, Any], actor: Actor = JOBS) -> None:
    """Set keys. Raises InvalidError, naming the key, when one cannot be set so: then none is. Unavailable when busy."""
    changes = {name: value for name, value in changes.items() if value is not None}
    for name, value in changes.items():
        _require_valid(name, value)
    wanted = {name: value for name, value in changes.items() if name in _TYPES}
    for _ in retrying.attempts(retrying.MEDIUM):
        stored = table.read()
        present = asdict(_shown(stored.values))
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
    return Configuration(**{name: value for name, value in values.items() if name in _TYPES})


def _shown(values: Mapping[str, Any]) -> Configuration:
    present = _of(values)
    return replace(present, token_expiration=present.token_expiration or max(1, settings().token_seconds // 60))


def _require_valid(name: str, value: Any) -> None:
    if name in FOREIGN or name in _NEVER_SHOWN:
        _require_neutral(name, value)
        return
    kind = str if name == CLIENT_SECRET else _TYPES.get(name)
    if kind is None:
        return
    if type(value) is not kind:
        raise InvalidError(f"{name} must be {_NAMES[kind]}")
    if isinstance(value, str) and len(value) > _TEXT_LIMIT:
        raise InvalidError(f"{name} may have {_TEXT_LIMIT} characters")
    rule = _RULES.get(name)
    if rule is not None and not rule(value):
        raise InvalidError(f"{name} is not valid: {value!r}"[:300])


def _require_neutral(name: str, value: Any) -> None:
    """That a key of what Berth has not is set to what changes nothing."""
    if isinstance(value, dict):
        is_neutral = name == "scan_all_policy" and value.get("type") in (None, "", "none")
    elif isinstance(value, str):
        is_neutral = value in ("", FOREIGN.get(name))
    else:
        is_neutral = type(value) is type(FOREIGN.get(name)) and (name not in _DECISIVE or value == FOREIGN[name])
    if not is_neutral:
        raise InvalidError(f"{name} cannot be set: Berth has nothing that would obey it")


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
    from chalicelib.events.types import EVENT_TYPES  # noqa: PLC0415 -- a login does without the log's reading

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
    "token_expiration": _is_positive,
    "storage_per_project": _is_storage,
    "disabled_audit_log_event_types": _are_event_types,
    "oidc_endpoint": _is_endpoint,
    "oidc_scope": _is_scope,
    "oidc_group_filter": _is_pattern,
    "oidc_extra_redirect_parms": _is_text_map,
}
