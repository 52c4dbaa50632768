from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from chalicelib.api import dispatch
from chalicelib.http import Request
from tests.access.support import BASIC, ORIGIN
from tests.api.support import call, errors_of

pytestmark = pytest.mark.usefixtures("administrator")

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", ["/", "/nothing", "/projects/a/b/c", "/health/x", "/../v2/"])
def test_an_unknown_path_is_not_found(path: str) -> None:
    response = call("GET", path)
    assert (response.status, errors_of(response)) == (404, ["NOT_FOUND"])


@pytest.mark.parametrize("path", ["/projects/", "//projects", "/users//current/", "/quotas/?page=1&page_size=100"])
def test_slashes_at_the_end_and_doubled_ones_are_none(path: str) -> None:
    assert call("GET", path).status == 200


def test_what_is_made_below_a_path_with_a_slash_at_its_end_has_a_clean_address(project: str) -> None:
    rule = {"level": "system", "name": f"slash-{project}", "duration": 1}
    grant = {"kind": "project", "namespace": "*", "access": [{"resource": "repository", "action": "pull"}]}
    made = call("POST", "/robots/", {**rule, "permissions": [grant]})
    assert made.status == 201
    assert "//" not in made.headers["Location"]


def test_a_method_that_is_not_built_is_405() -> None:
    assert call("PATCH", "/projects/library").status == 405
    assert call("DELETE", "/health").status == 405


def post(body: bytes, content_type: str = "application/json") -> int:
    headers = {**BASIC, "content-type": content_type}
    return dispatch.handle(Request("POST", "/api/v2.0/projects", {}, headers, body, ORIGIN)).status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"project_name": "' + b"a" * 300_000,
    ],
)
def test_a_body_that_is_no_object_is_a_bad_request(body: bytes) -> None:
    assert post(body) == 400


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_body_of_another_type_is_a_bad_request(content_type: str) -> None:
    assert post(b'{"project_name": "fine"}', content_type) == 400


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@limits(deadline=None, max_examples=150)
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]),
    st.sampled_from(["/projects", "/projects/{}", "/{}"]),
    st.text(max_size=40),
    st.dictionaries(
        st.sampled_from(["page", "page_size", "name", "public", "owner", "project_name"]), st.text(max_size=9)
    ),
    _json,
)
def test_no_request_is_answered_by_a_fault(method: str, path: str, text: str, query: dict[str, str], body: Any) -> None:
    content = json.dumps(body).encode()
    sent = Request(method, f"/api/v2.0{path.format(text)}", query, {**BASIC, **JSON}, content, ORIGIN)
    assert dispatch.handle(sent).status < 500
