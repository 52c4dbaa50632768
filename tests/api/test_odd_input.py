"""Names, numbers, queries and bodies, however long or odd, are never a fault, whatever operation they are sent to.

Made from the table of operations, the swagger's bodies, and the query's parameters that handlers were seen to ask for:
an operation that is added is tried without a word here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.api import PREFIX, dispatch, operations
from chalicelib.http import Request, Response
from tests.access.support import BASIC, ORIGIN
from tests.api.contract import SWAGGER, read_swagger
from tests.api.rights import RIGHTS, Right
from tests.api.world import Place, _place
from tests.hostile.bombs import ODD_TEXTS, ODD_VALUES

pytestmark = pytest.mark.usefixtures("administrator")

assert dispatch.handle  # whose import registers the operations
OPERATIONS = sorted(f"{each.method} {each.path}" for each in operations.registered())
_ELSEWHERE = {"PUT /configurations"}
"""What would change how the rest of the tests log in; it is tried with bodies that all are refused."""
_EACH = ("a" * 3000, "\ud800", 10**39)
"""What is put in place of each value of a body alone; the others stand for all of its texts and numbers at once."""


@pytest.fixture(scope="module")
def place(cloud: object) -> Place:
    from tests.access.support import be_administrator

    be_administrator()
    return _place(is_own=True, public=True)


class Asked(dict[str, str]):
    """A query that remembers what it was asked for."""

    def __init__(self, given: Mapping[str, str] = {}) -> None:
        super().__init__(given)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)


def send(
    operation: str, path: str, query: dict[str, str] | None = None, body: Any = None, headers: Any = None
) -> Response:
    method = operation.partition(" ")[0]
    content = b"" if body is None else json.dumps(body).encode()
    every = {**BASIC, "content-type": "application/json", **(headers or {})}
    response = dispatch.handle(
        Request(method, f"{PREFIX}{path}", {} if query is None else query, every, content, ORIGIN)
    )
    assert response.status < 500, (operation, path[:200], query, str(body)[:300], response.body[:300])
    return response


def odd_paths(operation: str, place: Place) -> Iterator[str]:
    """Paths of an operation with one parameter that is odd, and the others as they should be."""
    plain = operation.partition(" ")[2]
    right = {
        **dict.fromkeys(("project_name", "project_name_or_id"), place.project.name),
        "repository_name": "app",
        "reference": place.source.partition("@")[2],
    }
    for parameter in [part[1:-1] for part in plain.split("/") if part.startswith("{")]:
        for odd in ODD_TEXTS:
            path = plain.replace(f"{{{parameter}}}", quote(odd) if parameter == "repository_name" else odd or "-")
            for name, value in right.items():
                path = path.replace(f"{{{name}}}", value)
            while "{" in path:
                path = path.partition("{")[0] + "999999999" + path.partition("}")[2]
            yield path


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if "{" in name])
def test_an_odd_name_or_number_in_the_path_is_no_fault(operation: str, place: Place) -> None:
    body = RIGHTS.get(operation, Right("open")).body(place)
    for path in odd_paths(operation, place):
        send(operation, path, body=None if operation.startswith(("GET", "HEAD", "DELETE")) else body)


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name.startswith(("GET", "HEAD", "POST"))])
def test_an_odd_query_is_no_fault(operation: str, place: Place) -> None:
    right = RIGHTS.get(operation, Right("open"))
    path = place.path(operation)
    needed = dict(part.split("=", 1) for part in right.query(place).split("&") if part)
    seen = Asked({name: value.replace("%3D", "=") for name, value in needed.items()})
    send(operation, path, seen, body=None if operation.startswith(("GET", "HEAD")) else right.body(place))
    for name in sorted(seen.names | set(needed)):
        for odd in ODD_TEXTS:
            send(operation, path, {**needed, name: odd}, None)
            if name == "q":
                for field in ("name", "tags", "username", "Level", "resource"):
                    send(operation, path, {**needed, name: f"{field}={odd}"}, None)


@pytest.mark.parametrize(
    "header", ["x-is-resource-name", "x-request-id", "authorization", "cookie", "x-harbor-csrf-token"]
)
def test_an_odd_header_is_no_fault(header: str, place: Place) -> None:
    prefixes = ("", "Basic ", "Bearer ", "sid=", "_gorilla_csrf=") if header in ("authorization", "cookie") else ("",)
    for odd in ODD_TEXTS:
        for prefix in prefixes:
            send("GET /projects", "/projects", headers={header: f"{prefix}{odd}"})
            send("GET /p", f"/projects/{place.project.name}", headers={header: f"{prefix}{odd}"})


@cache
def schemas() -> dict[str, Any]:
    """The swagger's schemas of bodies, by operation; none where it is not."""
    if not SWAGGER.exists():
        return {"definitions": {}, "bodies": {}}
    swagger = read_swagger()
    found = {}
    for path, methods in swagger["paths"].items():
        for method, described in methods.items():
            for parameter in described.get("parameters", ()) if isinstance(described, dict) else ():
                if parameter.get("in") == "body":
                    found[f"{method.upper()} {path}"] = parameter["schema"]
    return {"definitions": swagger["definitions"], "bodies": found}


def filled(schema: Mapping[str, Any], text: Any, number: Any, depth: int = 0) -> Any:
    """A body of a schema, with `text` for every string and `number` for every number."""
    if "$ref" in schema:
        schema = schemas()["definitions"][schema["$ref"].rpartition("/")[2]]
    if depth > 5:
        return None
    kind = schema.get("type", "object")
    if kind == "array":
        return [filled(schema["items"], text, number, depth + 1)]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: filled(each, text, number, depth + 1) for name, each in properties.items()}
    return {"string": text, "boolean": True}.get(kind, number)


def with_each_odd(body: Any, odd: Any) -> Iterator[Any]:
    """Bodies that differ from `body` in one value."""
    entries = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, value in list(entries):
        for other in (odd, *with_each_odd(value, odd)):
            yield {**body, name: other} if isinstance(body, dict) else [other]


@pytest.mark.parametrize(
    "operation", [name for name in OPERATIONS if name.startswith(("PO", "PU", "PA")) and "executions" not in name]
)
def test_an_odd_body_is_no_fault(operation: str, place: Place) -> None:
    schema = schemas()["bodies"].get(operation)
    path = place.path(operation)
    for odd in ODD_VALUES:
        send(operation, path, body=odd)
        send(operation, path, body={odd: odd} if isinstance(odd, str) else {"a": odd})
        if schema is None or operation in _ELSEWHERE:
            continue
        send(operation, path, body=filled(schema, odd, odd))
        right = RIGHTS.get(operation, Right("open")).body(place) or {}
        if odd in _EACH:
            body = {**filled(schema, "abcDEF123", 1), **right}
            for other in with_each_odd(body, odd):
                send(operation, path, body=other)
