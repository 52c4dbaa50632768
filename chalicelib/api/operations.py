"""The table of the API's operations: a handler is registered by method and path, as Harbor's swagger names them.

All of them sit behind one greedy route, so that every path under /api/v2.0, known or not, is answered in
Harbor's form, and authentication and the mapping of errors are in one place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib import bounded_json
from chalicelib.access import csrf, sessions
from chalicelib.access.authentication import Caller, actor_of
from chalicelib.access.sessions import authenticate_browser
from chalicelib.api import PREFIX, browser_headers, errors
from chalicelib.api.errors import ApiError, BadRequestError, MethodNotAllowedError, NotFoundError
from chalicelib.bounded_json import Bounds, JsonRefusedError
from chalicelib.domain_errors import DomainError
from chalicelib.events.records import Actor
from chalicelib.http import Request, Response
from chalicelib.oci.errors import RegistryError, Unavailable
from chalicelib.storage.conditions import is_key_refused, is_transient

_BODY_LIMIT = 256 * 1024
_BODY_BOUNDS = Bounds(marks=50_000)
_ANSWER_LIMIT = 4_500_000
"""Bytes that fit a Lambda's answer (6 MB) as base64. What users push may make lists of any size."""
_SLASHES = re.compile(r"/{2,}")
_SEGMENT = re.compile(r"\{(\w+)\}")
_SLASHED = "repository_name"
"""The one parameter that may hold slashes. Harbor has them encoded twice; a gateway may have undone that."""


@dataclass(frozen=True)
class Call:
    """One call of an operation: the request, who sent it, and the path's parameters by name."""

    request: Request
    caller: Caller
    parameters: Mapping[str, str]

    @property
    def actor(self) -> Actor:
        return actor_of(self.caller, self.request)


Handler = Callable[[Call], Response]


@dataclass(frozen=True)
class Operation:
    """What the swagger calls an operation; `path` is relative to the prefix."""

    method: str
    path: str
    pattern: re.Pattern[str]
    handler: Handler
    is_own: bool = False
    """Whether it is Berth's own, and Harbor has none like it."""
    missing: str = ""
    """What would have to be built for it; empty for what is built."""

    @property
    def rank(self) -> tuple[int, int]:
        """Of several that match a path the first counts: `/users/current` is no user's number, and what follows a
        repository's name no part of it.
        """
        return -self.path.count("/"), self.path.count("{")


_operations: list[Operation] = []


def operation(method: str, path: str, *, is_own: bool = False, missing: str = "") -> Callable[[Handler], Handler]:
    """Register the decorated function as the handler of `method` on `path`, such as `/projects/{project_name}`.

    `missing` names what is not built, where all that the handler does is to say so.
    """
    pattern = re.compile(_SEGMENT.sub(_group, path.rstrip("/")) + r"\Z")

    def register(handler: Handler) -> Handler:
        _operations.append(Operation(method, path, pattern, handler, is_own, missing))
        return handler

    return register


def _group(segment: re.Match[str]) -> str:
    name = segment[1]
    return rf"(?P<{name}>{'.+' if name == _SLASHED else '[^/]+'})"


def registered() -> tuple[Operation, ...]:
    """Every operation that is built."""
    return tuple(each for each in _operations if not each.missing)


def unbuilt() -> tuple[Operation, ...]:
    """Every operation that is none but in name."""
    return tuple(each for each in _operations if each.missing)


_FIRST = frozenset({f"{PREFIX}/systeminfo", f"{PREFIX}/users/current"})
"""What a console asks before anybody has logged in: the answers give it its first CSRF token."""


def handle(request: Request) -> Response:
    """Answer one request. Every failure that is the client's or a busy store's leaves as a Harbor error body."""
    request = replace(request, path=clean_path(request.path))
    response = browser_headers.attach(request, _bounded(_answer(request)))
    is_first = request.path in _FIRST and "authorization" not in request.headers
    if not (is_first or sessions.is_carried(request)):
        return response
    try:
        return csrf.attach(request, response)
    except RegistryError as error:
        return errors.to_response(error)


def _bounded(response: Response) -> Response:
    """The response, or what to ask for instead of one that Lambda would not deliver."""
    if len(response.body) <= _ANSWER_LIMIT:
        return response
    return errors.to_response(BadRequestError("the answer would be too large: ask for a smaller page_size, or less"))


def clean_path(path: str) -> str:
    """A path without a slash at its end, and with doubled ones single: clients send them, and Harbor cleans as well."""
    return _SLASHES.sub("/", path).rstrip("/")


def _answer(request: Request) -> Response:
    try:
        handler, parameters = _find(request)
        return handler(Call(request, authenticate_browser(request), parameters))
    except (ApiError, RegistryError, DomainError) as error:
        return errors.to_response(error)
    except Exception as error:
        if is_key_refused(error):
            return errors.to_response(BadRequestError("a name is empty or too long"))
        if not is_transient(error):
            raise
        return errors.to_response(Unavailable("a store is busy"))


def _find(request: Request) -> tuple[Handler, Mapping[str, str]]:
    path = request.path.removeprefix(PREFIX)
    matches = [(each, match) for each in _operations if (match := each.pattern.match(path))]
    for each, match in sorted(matches, key=lambda found: found[0].rank):
        if each.method == request.method:
            return each.handler, match.groupdict()
    if matches:
        raise MethodNotAllowedError(f"{request.method} is not defined for this path")
    raise NotFoundError("no such operation")


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode())


def json_body(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises BadRequestError: the swagger knows no 413, 415 or 422 for most operations."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise BadRequestError("the body must be application/json")
    if len(request.body) > _BODY_LIMIT:
        raise BadRequestError(f"the body is longer than {_BODY_LIMIT} bytes")
    try:
        body = bounded_json.read(request.body, _BODY_BOUNDS)
        json.dumps(body, ensure_ascii=False).encode()
    except JsonRefusedError as error:
        raise BadRequestError(f"the body cannot be read: {error}") from error
    except UnicodeEncodeError as error:
        raise BadRequestError("the body is not Unicode") from error
    if body is None:
        return {}  # as in Go: each field is as if it were absent
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object")
    return body
