"""Logging in at a provider by OpenID Connect: the code flow with PKCE (OpenID Connect Core 1.0, RFC 7636).

Authlib does the protocol; this module says what Berth makes sure of. The provider is found by its discovery page, whose
issuer must be the configured endpoint. Every call goes through chalicelib/outbound.py. An ID token must be signed with
a key of the provider's by an algorithm that it announces, none of which is `none` or a shared secret, and be for this
client, this login (nonce) and now.

Which claims mean what is Harbor's (src/pkg/oidc/helper.go): what the userinfo endpoint says goes before the ID token.
"""

from __future__ import annotations

import json
import re
import secrets as randomness
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from chalicelib import outbound
from chalicelib.access import configuration
from chalicelib.access.configuration import Configuration
from chalicelib.access.errors import ProviderError
from chalicelib.outbound import OutboundError
from chalicelib.timed_cache import TimedCache

_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""Signatures by a key that only the provider has (RFC 7518, RFC 8037)."""
_KNOWN_SECONDS = 300
_CALL_SECONDS = 8.0
_LEEWAY_SECONDS = 30
_GROUP_LIMIT = 200
"""Groups of a user that count; which, `oidc_group_filter` says. The record must stay small, and a login quick."""
_TEXT_LIMIT = 1024


@dataclass(frozen=True)
class Provider:
    """What a provider's discovery page says."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    end_session_endpoint: str
    algorithms: tuple[str, ...]
    auth_methods: tuple[str, ...]


@dataclass(frozen=True)
class Flow:
    """What has to be remembered between sending a browser to the provider and its coming back."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class Profile:
    """Who has logged in, as the provider says."""

    issuer: str
    subject: str
    username: str
    email: str
    groups: tuple[str, ...]
    admin: bool


_providers: TimedCache[tuple[str, bool], Provider] = TimedCache(4)
_keys: TimedCache[tuple[str, bool], KeySet] = TimedCache(4)


def discover(endpoint: str, verify: bool) -> Provider:
    """The provider at `endpoint`, as its discovery page says now. Raises ProviderError."""
    issuer = endpoint.rstrip("/")
    page = _get_json(f"{issuer}/.well-known/openid-configuration", verify)
    if not isinstance(page.get("issuer"), str) or page["issuer"].rstrip("/") != issuer:
        raise ProviderError("the provider's discovery page is another issuer's")
    texts = {}
    for name, is_needed in _ENDPOINTS.items():
        value = page.get(name, "")
        if not isinstance(value, str) or (is_needed and not value):
            raise ProviderError(f"the provider's discovery page has no {name}")
        texts[name] = value
    announced = _strings(page.get("id_token_signing_alg_values_supported")) or ("RS256",)
    algorithms = tuple(each for each in announced if each in _ALGORITHMS)
    if not algorithms:
        raise ProviderError("the provider signs ID tokens in no way that can be trusted")
    methods = _strings(page.get("token_endpoint_auth_methods_supported")) or ("client_secret_basic",)
    return Provider(issuer=page["issuer"], algorithms=algorithms, auth_methods=methods, **texts)


_ENDPOINTS = {
    "authorization_endpoint": True,
    "token_endpoint": True,
    "jwks_uri": True,
    "userinfo_endpoint": False,
    "end_session_endpoint": False,
}
"""Names of the discovery page's addresses, and whether they must be there."""


def begin(redirect_uri: str) -> tuple[str, Flow]:
    """Where to send a browser so that it logs in, and what to remember. Raises ProviderError."""
    present = configuration.current()
    provider = _provider(present)
    flow = Flow(randomness.token_urlsafe(32), randomness.token_urlsafe(32), randomness.token_urlsafe(48))
    extra: dict[str, str] = json.loads(present.oidc_extra_redirect_parms or "{}")
    own = {"redirect_uri", "scope", "state", "nonce", "response_type", "client_id", "code_challenge"}
    url, _ = _client(present, provider, redirect_uri).create_authorization_url(
        provider.authorization_endpoint,
        state=flow.state,
        code_verifier=flow.verifier,
        nonce=flow.nonce,
        **{name: value for name, value in extra.items() if name not in own},
    )
    return str(url), flow


def finish(redirect_uri: str, code: str, flow: Flow) -> Profile:
    """Who has logged in, for the code that the provider sent the browser back with. Raises ProviderError."""
    present = configuration.current()
    provider = _provider(present)
    client = _client(present, provider, redirect_uri, configuration.client_secret())
    try:
        token = client.fetch_token(provider.token_endpoint, code=code, code_verifier=flow.verifier)
    except (AuthlibBaseError, OutboundError, ValueError) as error:
        raise ProviderError(f"the provider gave no token: {_reason(error)}") from error
    access_token, id_token = token.get("access_token"), token.get("id_token")
    if not isinstance(id_token, str) or not isinstance(access_token, str):
        raise ProviderError("the provider gave no ID token")
    claims = _verified(id_token, provider, present, {"nonce": flow.nonce, "access_token": access_token})
    return _profile(provider, claims, _userinfo(provider, present, access_token, claims["sub"]), present)


def log_out_address(back: str) -> str:
    """Where a browser ends its session at the provider, and comes back from to `back`; empty when that is not asked."""
    present = configuration.current()
    if present.auth_mode != configuration.OIDC_AUTH or not present.oidc_logout:
        return ""
    address = _provider(present).end_session_endpoint
    query = urlencode({"client_id": present.oidc_client_id, "post_logout_redirect_uri": back})
    return f"{address}{'&' if '?' in address else '?'}{query}" if address else ""


class _Session:
    """How Authlib's client calls: as this deployment does."""

    def __init__(self, verify: bool) -> None:
        self._verify = verify

    def post(self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: Any, **_: Any) -> _Reply:
        url, sent, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        # A redirect would carry the code and the client's secret elsewhere.
        answer = outbound.call(
            "POST", url, headers=sent, body=body.encode(), verify=self._verify, seconds=_CALL_SECONDS, redirects=0
        )
        return _Reply(answer)


class _Reply:
    """An answer as Authlib reads one."""

    def __init__(self, answer: outbound.Answer) -> None:
        self.status_code = answer.status
        self._body = answer.body

    def json(self) -> Any:
        try:
            return json.loads(self._body)
        except RecursionError as error:
            raise ValueError("JSON nested without end") from error

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise ValueError(f"HTTP {self.status_code}")


def _client(present: Configuration, provider: Provider, redirect_uri: str, secret: str = "") -> OAuth2Client:
    methods = ("client_secret_basic", "client_secret_post") if secret else ("none",)
    method = next((each for each in methods if each in provider.auth_methods), methods[0])
    scopes = [scope.strip() for scope in present.oidc_scope.split(",") if scope.strip()]
    return OAuth2Client(
        _Session(present.oidc_verify_cert),
        client_id=present.oidc_client_id,
        client_secret=secret or None,
        token_endpoint_auth_method=method,
        scope=" ".join(scopes or ["openid"]),
        redirect_uri=redirect_uri,
        code_challenge_method="S256",
    )


def _provider(present: Configuration) -> Provider:
    if present.auth_mode != configuration.OIDC_AUTH or not present.oidc_endpoint or not present.oidc_client_id:
        raise ProviderError("no OIDC provider is configured")
    key = (present.oidc_endpoint, present.oidc_verify_cert)
    cached = _providers.get(key)
    return cached[0] if cached else _providers.put(key, discover(*key), _KNOWN_SECONDS)


def _verified(id_token: str, provider: Provider, present: Configuration, params: dict[str, str]) -> dict[str, Any]:
    """The claims of an ID token that is good for this client and login. Raises ProviderError."""
    key = (provider.jwks_uri, present.oidc_verify_cert)
    cached = _keys.get(key)
    try:
        token = _decoded(id_token, cached[0] if cached else _fetch_keys(key), provider)
    except (JoseError, ValueError, RecursionError):
        # The provider may have changed its keys since they were read.
        token = _attempt(lambda: _decoded(id_token, _fetch_keys(key), provider))
    client_id = present.oidc_client_id
    options: Any = {
        "iss": {"essential": True, "value": provider.issuer},
        "aud": {"essential": True, "value": client_id},
        "nonce": {"essential": True, "value": params["nonce"]},
    }
    claims = CodeIDToken(token.claims, token.header, options, {**params, "client_id": client_id})
    _attempt(lambda: claims.validate(leeway=_LEEWAY_SECONDS))
    subject = claims["sub"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= _TEXT_LIMIT:
        raise ProviderError("the ID token has no subject")
    return dict(claims)


def _attempt(verify: Callable[[], Any]) -> Any:
    try:
        return verify()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise ProviderError(f"the ID token is not valid: {_reason(error)}") from error


def _decoded(id_token: str, keys: KeySet, provider: Provider) -> Any:
    return jwt.decode(id_token, keys, algorithms=list(provider.algorithms))


def _fetch_keys(key: tuple[str, bool]) -> KeySet:
    content = _get_json(*key)
    try:
        found = KeySet.import_key_set(content)  # type: ignore[arg-type]  # checked by it
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ProviderError("the provider's keys are malformed") from error
    return _keys.put(key, found, _KNOWN_SECONDS)


def _userinfo(provider: Provider, present: Configuration, access_token: str, subject: str) -> dict[str, Any]:
    """What the userinfo endpoint says; empty when there is none. Raises ProviderError when it is of somebody else."""
    if not provider.userinfo_endpoint:
        return {}
    headers = {"Authorization": f"Bearer {access_token}"}
    claims = _get_json(provider.userinfo_endpoint, present.oidc_verify_cert, headers)
    if claims.get("sub") != subject:
        raise ProviderError("the userinfo endpoint tells of somebody else")
    return claims


def _profile(
    provider: Provider, token: Mapping[str, Any], userinfo: Mapping[str, Any], present: Configuration
) -> Profile:
    claims = {**token, **userinfo}
    username = claims.get(present.oidc_user_claim or "name")
    email = claims.get("email")
    groups = _strings(claims.get(present.oidc_groups_claim)) if present.oidc_groups_claim else ()
    counted = [group for group in dict.fromkeys(groups) if re.search(present.oidc_group_filter, group)]
    return Profile(
        provider.issuer,
        token["sub"],
        username if isinstance(username, str) else "",
        email[:255] if isinstance(email, str) else "",
        tuple(counted[:_GROUP_LIMIT]),
        bool(present.oidc_admin_group) and present.oidc_admin_group in groups,
    )


def _get_json(url: str, verify: bool, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    sent = {"Accept": "application/json", **(headers or {})}
    try:
        answer = outbound.call("GET", url, headers=sent, verify=verify, seconds=_CALL_SECONDS)
        content = json.loads(answer.body) if answer.status == 200 else None
    except (OutboundError, ValueError, RecursionError) as error:
        raise ProviderError(f"the provider cannot be asked: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise ProviderError(f"the provider answered HTTP {answer.status}, or no JSON object")
    return content


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _reason(error: Exception) -> str:
    """What may be shown: our own text or the provider's error code, no token."""
    if isinstance(error, OutboundError):
        return str(error)
    return str(getattr(error, "error", "") or type(error).__name__)[:200]
