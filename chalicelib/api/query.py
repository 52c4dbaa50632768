"""`q` and `sort`: which entries of a list a caller wants, in which order (the swagger's parameters `query` and `sort`).

`q` is a list of conditions separated by commas, all of which must hold: `k=v` exact, `k=~v` part of, `k=[min~max]` a
range, `k={a b}` one of, `k=(a b)` all of. Values with blanks stand in quotes.

As in Harbor (src/lib/q/builder.go, src/lib/orm/query.go) a field has its name in JSON or in Go, `project_id` or
`ProjectID`, and what is no field of a list is neither filtered nor sorted by: clients older and newer than the server
name others. Nothing is deleted by `q`, and no right goes by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote, unquote_plus

from chalicelib.api.errors import BadRequestError
from chalicelib.http import Request

_CONDITION = re.compile(r"\s*([A-Za-z_.]+)\s*=(\[[^\]]*\]|\{[^}]*\}|\([^)]*\)|[^,]*)\s*(?:,|\Z)")
_WORDS = re.compile(r"\"([^\"]*)\"|'([^']*)'|(\S+)")
_LIMIT = 2048
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z?\Z")
_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*\Z")

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
    """What a request selects, by the fields that can be filtered and sorted by. Raises BadRequestError."""
    given, known = conditions(request), {_plain(name): name for name in filters}
    tests = {known[name]: _test(value) for name, value in given.items() if name in known}
    return Selection(tests, _order(request.query.get("sort", ""), {_plain(name): name for name in sorts}))


def conditions(request: Request) -> dict[str, str]:
    """What `q` says of each field, under the field's name in small letters without `_`. Raises BadRequestError."""
    text = _text(request.query.get("q", ""))
    if len(text) > _LIMIT:
        raise BadRequestError(f"q is longer than {_LIMIT} characters")
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _CONDITION.match(text, position)
        if match is None:
            raise BadRequestError("q is malformed: use k=v, k=~v, k=[min~max], k={v1 v2} or k=(v1 v2)")
        found[_plain(match[1])] = match[2].strip()
        position = match.end()
    return found


def _text(sent: str) -> str:
    """`q` as it is meant: Harbor's clients encode it, or the values in it, once more than HTTP asks for.

    Where its `=` are encoded all of it was, so a `+` is a blank; else a `+` is one, as in a media type. A `%` that
    begins no escape stands for itself, as in Harbor.
    """
    if "%" not in sent or not _ESCAPES.match(sent):
        return sent
    return unquote(sent) if "=" in sent else unquote_plus(sent)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _test(value: str) -> Test:
    inner = value[1:-1]
    if value.startswith("~"):
        return lambda present: any(value[1:] in _shown(each) for each in _each(present))
    if value.startswith("{"):
        wanted = _words(inner)
        return lambda present: any(_shown(each) in wanted for each in _each(present))
    if value.startswith("("):
        wanted = _words(inner)
        return lambda present: wanted <= {_shown(each) for each in _each(present)}
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
    return value in [_shown(each) for each in _each(present)]


def _is_between(least: str, value: Any, most: str) -> bool:
    """Numbers are compared as such, and with an end that is no number not at all."""
    if isinstance(value, int):
        ends = [int(end) if end.isascii() and end.isdigit() else None for end in (least or "0", most or str(value))]
        return ends[0] is not None and ends[1] is not None and ends[0] <= value <= ends[1]
    least, value, most = (_comparable(_shown(each)) for each in (least, value, most))
    return (not least or least <= value) and (not most or value <= most)


def _order(text: str, known: Mapping[str, str]) -> tuple[tuple[str, bool], ...]:
    """`-field` descends; so does `field:desc`, as Harbor's command line has it."""
    order = []
    for part in text[:_LIMIT].split(","):
        name, _, direction = part.strip().partition(":")
        field = known.get(_plain(name.removeprefix("-")))
        if field is not None:
            order.append((field, name.startswith("-") or direction.lower() == "desc"))
    return tuple(order)


def _shown(value: Any) -> str:
    """A value as JSON shows it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _comparable(text: str) -> str:
    """Times are given with a blank or a T between date and time, and sorted as text."""
    return text.replace("T", " ", 1).removesuffix("Z") if _TIME.match(text) else text


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
