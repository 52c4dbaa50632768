"""A token service as registries have one in front (distribution spec, docs/spec/auth/token.md): of docker-registry and
of the scripted upstream alike."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.upstreams.servers.asked import Asked, Log
from tests.upstreams.servers.certificates import Certificate
from tests.upstreams.servers.serving import Handler, Server, serving

SERVICE, ISSUER = "upstream.test", "tokens.test"
USER, PASSWORD = "puller", "secret of the puller"
_LEEWAY = 60
"""Seconds that docker-registry lets a token live on (distribution, registry/auth/token/token.go)."""


@dataclass
class TokenService(Log):
    """Signs tokens for who is known, and for anonymous pulls. All of it may be changed while it runs."""

    certificate: Certificate
    accounts: dict[str, str] = field(default_factory=lambda: {USER: PASSWORD})
    anonymous: bool = True
    seconds: int = 300
    """How long a token lives."""
    said_seconds: int | None = None
    """What it says of that, when it lies."""
    status: int = 200
    """What it answers, when it is not well."""
    url: str = ""
    _log: list[Asked] = field(default_factory=list)
    _tokens: dict[str, tuple[float, list[dict[str, Any]]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def challenge(self, repository: str) -> str:
        """What a registry says to who has no token that will do."""
        scope = f',scope="repository:{repository}:pull"' if repository else ""
        return f'Bearer realm="{self.url}",service="{SERVICE}"{scope}'

    def allows(self, token: str, repository: str) -> bool:
        """Whether a token lets its bearer pull."""
        with self._lock:
            ends, access = self._tokens.get(token, (0.0, []))
        named = any(each["name"] == repository and "pull" in each["actions"] for each in access)
        return time.time() < ends and (named or not repository)

    def revoke(self) -> None:
        """End every token, whatever was said of its life. The scripted upstream obeys; docker-registry cannot know."""
        with self._lock:
            self._tokens.clear()

    def forget(self) -> None:
        with self._lock:
            self._log.clear()

    def _all(self) -> list[Asked]:
        with self._lock:
            return list(self._log)

    def issue(self, user: str, *scopes: str) -> str:
        now = int(time.time())
        access = [_access(scope, anonymous=not user) for scope in scopes]
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "iat": now,
            "nbf": now - _LEEWAY,
            "exp": now + self.seconds - _LEEWAY,
            "jti": uuid.uuid4().hex,
            "access": access,
        }
        key = RSAKey.import_key(self.certificate.key_file.read_bytes())
        token = jwt.encode({"alg": "RS256", "x5c": [self.certificate.x5c]}, claims, key)
        with self._lock:
            self._tokens[token] = (now + self.seconds, access)
        return token

    def answer(self, target: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The status and the document of a request for a token."""
        path, query = urlsplit(target).path, urlsplit(target).query
        status, user = self._authenticate(headers.get("authorization", ""))
        with self._lock:
            self._log.append(Asked("GET", path, query, status, 0, headers))
        if status != 200:
            return status, {"errors": [{"code": "UNAUTHORIZED", "message": "no token for you"}]}
        scopes = [scope for each in parse_qs(query).get("scope", []) for scope in each.split(" ")]
        said = self.seconds if self.said_seconds is None else self.said_seconds
        return 200, {"token": self.issue(user, *scopes), "expires_in": said}

    def _authenticate(self, authorization: str) -> tuple[int, str]:
        if self.status != 200:
            return self.status, ""
        if not authorization:
            return (200 if self.anonymous else 401), ""
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        return (200 if self.accounts.get(user) == password else 401), user


def _access(scope: str, *, anonymous: bool) -> dict[str, Any]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return {"type": kind, "name": name, "actions": ["pull"] if anonymous else actions.split(",")}


@contextmanager
def token_service(certificate: Certificate, **options: Any) -> Iterator[TokenService]:
    """A service that runs; the options are TokenService's."""
    service = TokenService(certificate, **options)

    class _Handler(Handler):
        def respond(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, document = service.answer(self.path, headers)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Server("127.0.0.1", 0, _Handler)) as server:
        service.url = f"http://127.0.0.1:{server.server_port}/token"
        yield service
