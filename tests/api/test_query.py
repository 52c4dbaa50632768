"""`q` and `sort` of lists."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api.errors import BadRequestError
from chalicelib.api.query import selection
from chalicelib.registry.http import Request

ENTRIES: list[dict[str, Any]] = [
    {"name": "team/app", "size": 3, "tags": ["v1", "latest"]},
    {"name": "team/base", "size": 1, "tags": []},
    {"name": "team/app-two words", "size": 2, "tags": ["v1"]},
]
FIELDS = ("name", "size", "tags")


def chosen(q: str = "", sort: str = "") -> list[int]:
    """The sizes of the entries that are selected, in their order."""
    request = Request("GET", "/", {"q": q, "sort": sort})
    return [entry["size"] for entry in selection(request, FIELDS, FIELDS).of(ENTRIES, dict)]


@pytest.mark.parametrize(
    ("q", "sizes"),
    [
        ("", [3, 1, 2]),
        ("name=team/app", [3]),
        ("name=~app", [3, 2]),
        ("name=~app,size=2", [2]),
        ("size=[1~2]", [1, 2]),
        ("size=[2~]", [3, 2]),
        ("size=[~1]", [1]),
        ("tags=v1", [3, 2]),
        ("tags=latest", [3]),
        ("tags={latest nothing}", [3]),
        ("tags=(v1 latest)", [3]),
        ('name={"team/app-two words" team/base}', [1, 2]),
        ("name=nothing", []),
    ],
)
def test_conditions(q: str, sizes: list[int]) -> None:
    assert chosen(q) == sizes


def test_order_is_by_the_first_field_and_within_it_by_the_next() -> None:
    assert chosen(sort="size") == [1, 2, 3]
    assert chosen(sort="-size") == [3, 2, 1]
    assert chosen(sort="tags,-size") == [1, 2, 3]


@pytest.mark.parametrize("q", ["unknown=1", "name", "=x", "size=[1]", "name=~a,,", "a" * 3000])
def test_what_is_malformed_or_unknown_is_a_bad_request(q: str) -> None:
    with pytest.raises(BadRequestError):
        chosen(q)


def test_an_unknown_order_is_a_bad_request() -> None:
    with pytest.raises(BadRequestError):
        chosen(sort="-unknown")


@given(st.text(max_size=80), st.text(max_size=40))
def test_any_text_is_answered_or_refused(q: str, sort: str) -> None:
    with contextlib.suppress(BadRequestError):
        assert len(chosen(q, sort)) <= len(ENTRIES)
