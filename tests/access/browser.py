"""A browser: keeps cookies and the CSRF token of the last answer, and sends both, to the API and to /c."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from chalicelib.api import dispatch
from chalicelib.console import login
from chalicelib.http import Request, Response
from tests.access.support import ORIGIN


class Browser:
    def __init__(self, origin: str = ORIGIN) -> None:
        self.origin = origin
        self.cookies: dict[str, str] = {}
        self.token = ""

    def send(self, method: str, url: str, body: bytes = b"", **headers: str) -> Response:
        parts = urlsplit(url)
        sent = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if self.token:
            sent["x-harbor-csrf-token"] = self.token
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        request = Request(method, parts.path, query, sent, body, self.origin)
        response = (login.handle if parts.path.startswith("/c/") else dispatch.handle)(request)
        for text in response.cookies:
            for name, morsel in SimpleCookie(text).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        self.token = response.headers.get("X-Harbor-CSRF-Token", self.token)
        return response

    def get(self, url: str, **headers: str) -> Response:
        return self.send("GET", url, **headers)

    def post_json(self, url: str, body: Any, method: str = "POST", **headers: str) -> Response:
        return self.send(method, url, json.dumps(body).encode(), content_type="application/json", **headers)

    def post_form(self, url: str, **fields: str) -> Response:
        return self.send("POST", url, urlencode(fields).encode(), content_type="application/x-www-form-urlencoded")

    def log_in(self, name: str, password: str) -> Response:
        self.get("/api/v2.0/systeminfo")
        return self.post_form("/c/login", principal=name, password=password)
