"""A login provider of the tests' own, which can be made to say what no provider should.

What a real one says is tested against a real one (tests/clients/test_oidc.py); this one is for everything else.
"""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "berth"
SECRET = "client-secret-of-the-tests"


class Provider:
    """`user` are the claims of who logs in. `claims` and `header` override an ID token's, None takes one away."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.signing_key: Any = self.key
        self.user: dict[str, Any] = {"sub": "subject-1", "name": "Ada Lovelace", "email": "ada@example.com"}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.discovery: dict[str, Any] = {}
        self.userinfo: dict[str, Any] | None = None
        self.token_answer: tuple[int, bytes] | None = None
        self.requests: list[tuple[str, dict[str, str], str]] = []
        self._nonces: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def log_in(self, address: str) -> dict[str, str]:
        """What a browser that was sent to `address` brings back: the user has logged in."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code = f"code-{len(self._nonces)}-{time.monotonic_ns()}"
        self._nonces[code] = query
        return {"code": code, "state": query["state"]}

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.user}
        kept = {name: value for name, value in {**claims, **self.claims}.items() if value is not None}
        header = {"alg": "RS256", "kid": self.key.kid, **self.header}
        if header["alg"] in ("none", "HS256"):
            signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, kept))
            # The public key as a shared secret: what a verifier that trusts the token's `alg` would take it for.
            digest = hmac.digest(self.key.as_pem(private=False), signed.encode(), "sha256")
            return f"{signed}.{'' if header['alg'] == 'none' else _base64(digest)}"
        return jwt.encode(header, kept, self.signing_key, algorithms=[header["alg"]])

    def answer(self, method: str, path: str, headers: dict[str, str], body: str) -> tuple[int, bytes]:
        self.requests.append((f"{method} {path}", headers, body))
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps({**self._page(), **self.discovery}).encode()
        if path == "/jwks":
            return 200, json.dumps({"keys": [self.key.as_dict(private=False)]}).encode()
        if path == "/userinfo":
            return 200, json.dumps(self.userinfo if self.userinfo is not None else self.user).encode()
        return self.token_answer or self._token(body)

    def _page(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/logout",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }

    def _token(self, body: str) -> tuple[int, bytes]:
        form = {name: values[0] for name, values in parse_qs(body).items()}
        begun = self._nonces.pop(form.get("code", ""), None)
        if begun is None:
            return 400, b'{"error": "invalid_grant"}'
        token = {"access_token": "access", "token_type": "Bearer", "id_token": self.id_token(begun["nonce"])}
        return 200, json.dumps(token).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                path = urlsplit(self.path).path
                status, body = provider.answer(self.command, path, headers, self.rfile.read(length).decode())
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
