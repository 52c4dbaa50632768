"""`q` and `sort` of lists."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api.errors import BadRequestError
from chalicelib.api.query import selection
from chalicelib.http import Request

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


@pytest.mark.parametrize("q", ["name", "=x", "size=[1]", "name=~a,,", "a" * 3000])
def test_what_is_malformed_is_a_bad_request(q: str) -> None:
    with pytest.raises(BadRequestError):
        chosen(q)


@pytest.mark.parametrize(("q", "sizes"), [("unknown=1", [3, 1, 2]), ("unknown=[1~2],size=2", [2])])
def test_what_is_no_field_is_not_filtered_by(q: str, sizes: list[int]) -> None:
    assert chosen(q) == sizes


@pytest.mark.parametrize("sort", ["unknown", "-unknown", "unknown:desc", ",", ":", "-"])
def test_what_is_no_field_is_not_sorted_by(sort: str) -> None:
    assert chosen(sort=sort) == [3, 1, 2]
    assert chosen(sort=f"{sort},size") == [1, 2, 3]


@pytest.mark.parametrize("name", ["repo_count", "RepoCount", "repoCount", "REPO_COUNT"])
def test_a_field_has_its_name_in_json_or_in_go(name: str) -> None:
    request = Request("GET", "/", {"q": f"{name}=2", "sort": f"-{name}"})
    found = selection(request, ["repo_count"], ["repo_count"]).of([1, 2, 2], lambda count: {"repo_count": count})
    assert found == [2, 2]


@pytest.mark.parametrize(
    ("q", "sizes"),
    [
        ("name%3Dteam%2Fapp", [3]),
        ("name=team%2Fapp", [3]),
        ("name%3D~two+words%2Csize%3D2", [2]),
        ("name=~two%20words", [2]),
        ("name%3D%7B%22team%2Fapp-two+words%22+team%2Fbase%7D", [1, 2]),
    ],
)
def test_what_is_encoded_twice_is_understood(q: str, sizes: list[int]) -> None:
    """`chosen` gets it as a gateway hands it on, decoded once."""
    assert chosen(q) == sizes


@pytest.mark.parametrize("value", ["application/vnd.oci.image.config.v1+json", "100%", "5%-off", "%zz", "a+b"])
def test_a_percent_or_a_plus_may_be_a_values_own(value: str) -> None:
    for sent in (value, quote_plus(value) if "%" not in value else value):
        request = Request("GET", "/", {"q": f"name={sent}"})
        assert selection(request, ["name"], []).of(["other", value], lambda each: {"name": each}) == [value]


def test_true_and_false_are_as_in_json() -> None:
    request = Request("GET", "/", {"q": "enabled=true"})
    assert selection(request, ["enabled"], []).of([True, False], lambda each: {"enabled": each}) == [True]


@pytest.mark.parametrize("moment", ["2024-05-01 12:00:00", "2024-05-01T12:00:00", "2024-05-01T12:00:00Z"])
def test_a_range_of_times_is_written_either_way(moment: str) -> None:
    request = Request("GET", "/", {"q": f"time=[{moment}~]"})
    times = ["2024-05-01T11:59:59.000Z", "2024-05-01T12:00:00.000Z", "2024-05-02T00:00:00.000Z"]
    assert selection(request, ["time"], []).of(times, lambda each: {"time": each}) == times[1:]


def test_an_order_descends_by_a_dash_or_a_word() -> None:
    assert chosen(sort="-size") == chosen(sort="size:desc") == [3, 2, 1]
    assert chosen(sort="size:asc") == [1, 2, 3]


@given(st.text(max_size=80), st.text(max_size=40))
def test_any_text_is_answered_or_refused(q: str, sort: str) -> None:
    with contextlib.suppress(BadRequestError):
        assert len(chosen(q, sort)) <= len(ENTRIES)
