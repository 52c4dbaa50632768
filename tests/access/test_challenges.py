from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.access.challenges import challenge, needed_scope
from chalicelib.http import Request

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v2/", ""),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
        ("HEAD", "/v2/a/b/manifests/latest", "repository:a/b:pull"),
        ("GET", f"/v2/a/b/blobs/{DIGEST}", "repository:a/b:pull"),
        ("GET", "/v2/a/b/tags/list", "repository:a/b:pull"),
        ("PUT", "/v2/a/b/manifests/latest", "repository:a/b:pull,push"),
        ("POST", "/v2/a/b/blobs/uploads/", "repository:a/b:pull,push"),
        ("GET", "/v2/a/b/blobs/uploads/" + "0" * 32, "repository:a/b:pull,push"),
        ("DELETE", "/v2/a/b/blobs/uploads/" + "0" * 32, "repository:a/b:pull,push"),
        ("DELETE", "/v2/a/b/manifests/latest", "repository:a/b:delete"),
        ("GET", "/v2/../etc/passwd", ""),
        ("GET", "/api/v2.0/projects", ""),
    ],
)
def test_the_scope_that_a_request_needs(method: str, path: str, scope: str) -> None:
    assert needed_scope(Request(method, path)) == scope


@given(st.text(max_size=100), st.text(max_size=100))
def test_nothing_a_client_sends_breaks_out_of_the_quotes(host: str, path: str) -> None:
    request = Request("GET", f"/v2/{path}", origin=f"https://{host}")
    [(name, value)] = challenge(request, needed_scope(request)).items()
    assert name == "WWW-Authenticate"
    assert re.fullmatch(r'Bearer (\w+="[!#-\[\]-~]*",?)+', value)
