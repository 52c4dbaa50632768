"""Patterns, as Go's doublestar 1 has them: its own table of examples, and what holds for all."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import doublestar
from chalicelib.doublestar import PatternInvalidError

MATCHES = """
abc abc|* abc|*c abc|a* a|a* abc|a*/b abc/b|a*b*c*d*e*/f axbxcxdxe/f|a*b?c*x abxbbxdbxebxczzx|ab[c] abc|ab[b-d] abc
ab[^e-g] abc|a?b a☺b|a[^a]b a☺b|[a-ж]* ж|[\\]a] ]|[\\-] -|[x\\-] x|[x\\-] -|*x xxx|a/** a/b|a/** a/b/c|**/c c|**/c b/c
**/c a/b/c|a/**/b a/b|a/**/c a/b/c|a/**/d a/b/c/d|a/\\** a/*|ab{c,d} abc|ab{c,d,*} abcde|a{,bc} a|a{,bc} abc
a/{b/c,c/b} a/c/b|abc** abc|**abc abc|** a/b/c|v1.{0,[1-3]*} v1.25|{a,b{c,d}} bd
"""
MISMATCHES = """
a* ab/c|a*/b a/c/b|a*b*c*d*e*/f axbxcxdxe/xxx/f|a*b?c*x abxbbxdbxebxczzy|ab[e-g] abc|ab[^c] abc|a\\*b ab|a???b a☺b
*[a-ж] A|a?b a/b|a*b a/b|[x\\-] z|a/** a|**/c a/b|**/c abcd|**/c a/abc|a/\\** a/b/c|[^a] /|a**b a/b|ab{c,d} abe
"""
INVALID = ["[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "ab{c,d}[", "{a", "a" * 2000]


def pairs(table: str) -> list[list[str]]:
    return [entry.replace("\\\\", "\\").split(" ") for line in table.split("\n") for entry in line.split("|") if entry]


@pytest.mark.parametrize(("pattern", "text"), pairs(MATCHES))
def test_what_matches(pattern: str, text: str) -> None:
    assert doublestar.match(pattern, text)


@pytest.mark.parametrize(("pattern", "text"), pairs(MISMATCHES))
def test_what_does_not_match(pattern: str, text: str) -> None:
    assert not doublestar.match(pattern, text)


@pytest.mark.parametrize("pattern", INVALID)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(PatternInvalidError):
        doublestar.require_valid(pattern)


@given(st.text())
def test_two_stars_match_everything(text: str) -> None:
    assert doublestar.match("**", text)


@given(st.text())
def test_an_escaped_text_matches_itself_alone(text: str) -> None:
    pattern = "".join(f"\\{character}" for character in text)[: doublestar.LENGTH]
    assert doublestar.match(pattern, text)
    assert not doublestar.match(pattern, f"{text}x")


@given(st.text(alphabet="ab*?", max_size=12), st.text(alphabet="ab", max_size=12))
def test_without_slashes_it_is_what_shells_do(pattern: str, text: str) -> None:
    assert doublestar.match(pattern, text) == fnmatch.fnmatchcase(text, pattern)


@given(st.lists(st.text(alphabet="ab", max_size=4), min_size=1, max_size=4), st.text(alphabet="ab", max_size=4))
def test_braces_match_what_one_of_them_does(words: list[str], text: str) -> None:
    assert doublestar.match("{" + ",".join(words) + "}", text) == (text in words)


@given(st.text(alphabet="a/*?[]{}^-,\\", max_size=30), st.text(alphabet="a/", max_size=30))
def test_a_pattern_is_refused_or_matched(pattern: str, text: str) -> None:
    try:
        doublestar.require_valid(pattern)
    except PatternInvalidError:
        return
    doublestar.match(pattern, text)


def test_no_pattern_takes_long() -> None:
    started = time.perf_counter()
    assert not doublestar.match("*a" * 500 + "b", "a" * 255)
    assert not doublestar.match("{a,a*}" * 150 + "b", "a" * 255)
    assert time.perf_counter() - started < 2
