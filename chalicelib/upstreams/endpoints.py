"""Upstream registries: making, finding, changing and deleting their records (Harbor, src/controller/registry).

As in Harbor a record is only written of a registry that answers now, to the credentials that it is given.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from chalicelib import outbound, retrying
from chalicelib.storage.conditions import new_id, now
from chalicelib.timed_cache import TimedCache
from chalicelib.upstreams import credentials, ecr
from chalicelib.upstreams import store as table
from chalicelib.upstreams.authorization import Credential
from chalicelib.upstreams.client import Upstream
from chalicelib.upstreams.errors import (
    EndpointChangedError,
    EndpointExistsError,
    EndpointInUseError,
    EndpointInvalidError,
    EndpointNotFoundError,
    EndpointUnhealthyError,
    UpstreamError,
)
from chalicelib.upstreams.providers import ECR, PROVIDERS
from chalicelib.upstreams.records import HEALTHY, UNHEALTHY, Endpoint

_NAME_LENGTH, _DESCRIPTION_LENGTH, _URL_LENGTH, _KEY_LENGTH = 64, 1024, 2048, 255
_PASSWORD_LENGTH = 32 * 1024
"""Room for the JSON key of a Google service account; Secrets Manager takes 64 KB."""
_CERTIFICATE_LENGTH = 64 * 1024
_KNOWN_SECONDS = 30
_UNKNOWN_SECONDS = 2

_found: TimedCache[int, Endpoint | None] = TimedCache(256)


@dataclass(frozen=True)
class Changes:
    """What is to be different of a record; None is as it was. The empty text is no user, no password, no certificate.

    A password stays with the address and the user that it belongs to, unless another one is given.
    """

    name: str | None = None
    url: str | None = None
    insecure: bool | None = None
    description: str | None = None
    ca_certificate: str | None = None
    access_key: str | None = None
    password: str | None = None


def get(number: int) -> Endpoint:
    """The registry with this number as it is now. Raises EndpointNotFoundError."""
    endpoint = table.read(number)
    if endpoint is None:
        raise EndpointNotFoundError(f"registry {number} not found")
    return endpoint


def find(number: int) -> Endpoint | None:
    """The registry with this number, as it was at most 30 seconds ago; that there is none, at most 2 seconds ago."""
    cached = _found.get(number)
    if cached is not None:
        return cached[0]
    endpoint = table.read(number)
    return _found.put(number, endpoint, _KNOWN_SECONDS if endpoint else _UNKNOWN_SECONDS)


def list_all() -> list[Endpoint]:
    """Every registry, by number."""
    return table.read_all()


def create(kind: str, content: Changes) -> Endpoint:
    """Make a registry of one of PROVIDERS' kinds.

    Raises EndpointInvalidError, EndpointUnhealthyError or EndpointExistsError.
    """
    time = now()
    blank = Endpoint(0, "", kind, "", False, "", "", "", "", HEALTHY, 0, new_id(), time, time)
    asked = _changed(blank, content)
    _require_valid(asked)
    password = _valid_password(content.password or "")
    if table.is_taken(asked.name):
        raise EndpointExistsError(f"a registry named {asked.name} exists")
    _require_healthy(asked, Credential(asked.access_key, password))
    secret = credentials.keep(asked.name, password) if password else ""
    endpoint = replace(asked, number=table.next_number(), secret=secret)
    if not table.create(endpoint):
        credentials.drop(secret)
        raise EndpointExistsError(f"a registry named {asked.name} exists")
    return endpoint


def update(number: int, content: Changes) -> None:
    """Change a registry.

    Raises as `create` does, or EndpointNotFoundError, or EndpointChangedError when others did meanwhile.
    """
    before = get(number)
    after = replace(_changed(before, content), status=HEALTHY, version=new_id(), updated=now())
    _require_valid(after)
    password = _password(before, after, content)
    if after.name != before.name and table.is_taken(after.name):
        raise EndpointExistsError(f"a registry named {after.name} exists")
    _require_healthy(after, Credential(after.access_key, password))
    is_kept = bool(before.secret) and content.password is None and bool(password)
    if not is_kept:
        after = replace(after, secret=credentials.keep(after.name, password) if password else "")
    if not table.replace(before, after):
        if not is_kept:
            credentials.drop(after.secret)
        raise EndpointChangedError(f"registry {number} is being changed by others, or the name is taken: try again")
    _found.drop(number)
    if not is_kept:
        credentials.drop(before.secret)


def delete(number: int) -> None:
    """Raises EndpointNotFoundError, EndpointInUseError or EndpointChangedError."""

    def remove() -> bool:
        endpoint = get(number)
        if endpoint.projects:
            raise EndpointInUseError(f"the registry {number} is referenced by proxy cache project, cannot delete it")
        if not table.delete(endpoint):
            return False
        credentials.drop(endpoint.secret)
        return True

    _until_unchanged(number, remove)
    _found.drop(number)


def ping(kind: str, number: int | None, content: Changes) -> None:
    """Return if a registry answers: of `kind` and as `content` says, or the one with this number so changed.

    Raises EndpointNotFoundError, EndpointInvalidError or EndpointUnhealthyError.
    """
    before = get(number) if number is not None else None
    blank = Endpoint(0, "-", kind, "", False, "", "", "", "", HEALTHY, 0, "", 0, 0)
    asked = _changed(before or blank, content)
    if kind:
        asked = replace(asked, type=kind)
    if not asked.type or not asked.url:
        raise EndpointInvalidError("type or url cannot be empty")
    _require_valid(asked)
    _require_healthy(asked, Credential(asked.access_key, _password(before or blank, asked, content)))


def check_health(endpoint: Endpoint) -> str:
    """Look whether the registry answers, and write it down when that has changed. Returns its status."""
    try:
        Upstream(endpoint).ping()
        status = HEALTHY
    except UpstreamError:
        status = UNHEALTHY
    if status != endpoint.status:
        table.set_status(endpoint, status)
    return status


def _changed(before: Endpoint, content: Changes) -> Endpoint:
    def chosen(new: str | None, old: str) -> str:
        return old if new is None else new

    return replace(
        before,
        name=chosen(content.name, before.name).strip(),
        url=chosen(content.url, before.url).strip().rstrip("/"),
        insecure=before.insecure if content.insecure is None else content.insecure,
        description=chosen(content.description, before.description),
        ca_certificate=chosen(content.ca_certificate, before.ca_certificate).strip(),
        access_key=chosen(content.access_key, before.access_key),
    )


def _password(before: Endpoint, after: Endpoint, content: Changes) -> str:
    """The password of `after`: a new one, or the one that is kept. It is told to no other address than its own."""
    if content.password is not None:
        return _valid_password(content.password)
    return credentials.stored(before) if credentials.is_same_place(before, after) else ""


def _require_healthy(endpoint: Endpoint, credential: Credential) -> None:
    try:
        Upstream(endpoint, credential).ping()
    except UpstreamError as error:
        raise EndpointUnhealthyError(f"the registry is unhealthy: {error}") from error


def _until_unchanged(number: int, attempt: Callable[[], bool]) -> None:
    for _ in retrying.attempts(retrying.LOW):
        if attempt():
            return
    raise EndpointChangedError(f"registry {number} is being changed by others: try again")


def _valid_password(password: str) -> str:
    if len(password) > _PASSWORD_LENGTH:
        raise EndpointInvalidError(f"an access secret has up to {_PASSWORD_LENGTH} characters")
    return password


def _require_valid(endpoint: Endpoint) -> None:
    """Raises EndpointInvalidError."""
    if endpoint.type not in PROVIDERS:
        raise EndpointInvalidError(f"unsupported registry type {endpoint.type[:64]!r}")
    if not 1 <= len(endpoint.name) <= _NAME_LENGTH or not endpoint.name.isprintable():
        raise EndpointInvalidError(f"a registry's name has 1 to {_NAME_LENGTH} printable characters")
    if len(endpoint.description) > _DESCRIPTION_LENGTH:
        raise EndpointInvalidError(f"a registry's description has up to {_DESCRIPTION_LENGTH} characters")
    if len(endpoint.access_key) > _KEY_LENGTH or ":" in endpoint.access_key:
        raise EndpointInvalidError(f"an access key has up to {_KEY_LENGTH} characters, and no colon (RFC 7617)")
    _require_certificates(endpoint.ca_certificate)
    _require_url(endpoint.url)
    if endpoint.type == ECR and not (ecr.is_address(endpoint.url) and endpoint.access_key):
        raise EndpointInvalidError("a registry of ECR needs an address of ECR's, and an access key")


def _require_certificates(text: str) -> None:
    if not text:
        return
    try:
        if len(text) > _CERTIFICATE_LENGTH:
            raise ValueError("too long")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError) as error:
        raise EndpointInvalidError("the CA certificate must be certificates in PEM form") from error


def _require_url(url: str) -> None:
    """That it can be called at all; its host is resolved, and checked, anew with each call."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise EndpointInvalidError("the registry's URL is none") from error
    is_url = parts.scheme in ("http", "https") and host and url.isascii() and url.isprintable() and " " not in url
    if not is_url or len(url) > _URL_LENGTH or port == 0 or parts.username is not None or parts.query or parts.fragment:
        raise EndpointInvalidError("the registry's URL must be one of http or https, without a user, query or fragment")
    try:
        outbound.check_host(host)
    except outbound.OutboundError as error:
        raise EndpointInvalidError(str(error)) from error
