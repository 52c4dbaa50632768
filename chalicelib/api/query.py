"""`q` and `sort`: which entries of a list a caller wants, in which order (the swagger's parameters `query` and `sort`).

`q` is a list of conditions separated by commas, all of which must hold: `k=v` exact, `k=~v` part of, `k=[min~max]` a
range, `k={a b}` one of, `k=(a b)` all of. Values with blanks stand in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from chalicelib.api.errors import BadRequestError
from chalicelib.registry.http import Request

_CONDITION = re.compile(r"\s*([A-Za-z_.]+)\s*=(\[[^\]]*\]|\{[^}]*\}|\([^)]*\)|[^,]*)\s*(?:,|\Z)")
_WORDS = re.compile(r"\"([^\"]*)\"|'([^']*)'|(\S+)")
_LIMIT = 2048

T = TypeVar("T")
Test = Callable[[Any], bool]


@dataclass(frozen=True)
class Selection:
    """The conditions by field, and the fields to sort by, each with whether it descends."""

    tests: Mapping[str, Test]
    order: tuple[tuple[str, bool], ...]

    def of(self, entries: Iterable[T], fields: Callable[[T], Mapping[str, Any]]) -> list[T]:
        """The entries for whose `fields` all conditions hold, sorted; those that sort alike keep their order."""
        found = [(fields(each), each) for each in entries]
        found = [pair for pair in found if all(test(pair[0].get(name)) for name, test in self.tests.items())]
        for name, descending in reversed(self.order):
            found.sort(key=partial(_sort_key, name), reverse=descending)
        return [each for _, each in found]


def selection(request: Request, filters: Collection[str], sorts: Collection[str]) -> Selection:
    """What a request selects. Raises BadRequestError for what is malformed or names another field."""
    return Selection(_tests(request.query.get("q", ""), filters), _order(request.query.get("sort", ""), sorts))


def _tests(text: str, fields: Collection[str]) -> dict[str, Test]:
    if len(text) > _LIMIT:
        raise BadRequestError(f"q is longer than {_LIMIT} characters")
    tests: dict[str, Test] = {}
    position = 0
    while position < len(text):
        match = _CONDITION.match(text, position)
        if match is None:
            raise BadRequestError("q is malformed: use k=v, k=~v, k=[min~max], k={v1 v2} or k=(v1 v2)")
        name, value = match[1], match[2].strip()
        if name not in fields:
            raise BadRequestError(f"q knows {', '.join(sorted(fields)) or 'no field'} here, not {name[:64]}")
        tests[name] = _test(value)
        position = match.end()
    return tests


def _test(value: str) -> Test:
    inner = value[1:-1]
    if value.startswith("~"):
        return lambda present: any(value[1:] in str(each) for each in _each(present))
    if value.startswith("{"):
        wanted = _words(inner)
        return lambda present: any(str(each) in wanted for each in _each(present))
    if value.startswith("("):
        wanted = _words(inner)
        return lambda present: wanted <= {str(each) for each in _each(present)}
    if value.startswith("["):
        least, tilde, most = (part.strip().strip("\"'") for part in inner.partition("~"))
        if not tilde:
            raise BadRequestError("a range is [min~max]")
        return lambda present: any(_is_between(least, each, most) for each in _each(present))
    return lambda present: _is_exactly(value, present)


def _is_exactly(value: str, present: Any) -> bool:
    """Of a list, such as an artifact's tags, `*` is any entry and `nil` none (Harbor, src/pkg/artifact/dao)."""
    if isinstance(present, list) and value in ("*", "nil"):
        return bool(present) == (value == "*")
    return value in [str(each) for each in _each(present)]


def _is_between(least: str, value: Any, most: str) -> bool:
    """Numbers are compared as such, and with an end that is no number not at all."""
    if isinstance(value, int):
        ends = [int(end) if end.isascii() and end.isdigit() else None for end in (least or "0", most or str(value))]
        return ends[0] is not None and ends[1] is not None and ends[0] <= value <= ends[1]
    return (not least or least <= str(value)) and (not most or str(value) <= most)


def _order(text: str, fields: Collection[str]) -> tuple[tuple[str, bool], ...]:
    order = []
    for part in filter(None, (each.strip() for each in text[:_LIMIT].split(","))):
        name = part.removeprefix("-")
        if name not in fields:
            raise BadRequestError(f"sort knows {', '.join(sorted(fields)) or 'no field'} here, not {name[:64]}")
        order.append((name, part.startswith("-")))
    return tuple(order)


def _each(present: Any) -> Iterable[Any]:
    if present is None:
        return ()
    return present if isinstance(present, (list, tuple, set)) else (present,)


def _words(text: str) -> set[str]:
    return {first or second or third for first, second, third in _WORDS.findall(text)}


def _sort_key(name: str, pair: tuple[Mapping[str, Any], Any]) -> tuple[bool, Any]:
    """What is absent comes first, and is not compared with what is there."""
    value = pair[0].get(name)
    return (value is not None, value)
