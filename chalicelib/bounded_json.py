"""JSON that anyone may have sent: read in time and memory that its reader can count on, whatever it holds.

A megabyte of JSON may be half a million lists, a number whose digits are multiplied for a second, or nested deeper than
the stack of whoever walks it later. What has more of anything than `Bounds` is refused, most of it unread.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

_DIGITS = 40
"""Digits of a number: more than any unit of anything needs, and few enough that their number does not matter."""


class JsonRefusedError(ValueError):
    """What is no JSON, or more of it than is read. The text says which."""


@dataclass(frozen=True)
class Bounds:
    """How much a document may hold."""

    marks: int
    """Commas, colons and opening brackets, also those within strings: an entry of a list or an object needs one."""
    depth: int = 64
    """Lists and objects within one another. Python's stack ends at some hundreds, less in whoever is called deep."""


def read(content: bytes, bounds: Bounds) -> Any:
    """The document. Raises JsonRefusedError, also for numbers that JSON does not have, such as NaN and 1e999."""
    marks = sum(content.count(mark) for mark in (b",", b":", b"[", b"{"))
    if marks > bounds.marks:
        raise JsonRefusedError("the JSON holds too many entries")
    try:
        # Some clients put a byte order mark before it.
        text = content.decode("utf-8-sig")
        document = json.loads(text, parse_int=_integer, parse_float=_real, parse_constant=_constant)
    except RecursionError:
        raise JsonRefusedError("the JSON is nested too deep") from None
    except JsonRefusedError:
        raise
    except ValueError as error:
        raise JsonRefusedError(f"not JSON: {error}") from error
    _require_depth(document, bounds.depth)
    return document


def _require_depth(document: Any, limit: int) -> None:
    """Raises JsonRefusedError for what is nested deeper, level by level: this is the walk that must not recurse."""
    level = [document]
    for _ in range(limit + 1):
        inner = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list)))
        level = [entry for entries in inner for entry in entries]
        if not level:
            return
    raise JsonRefusedError("the JSON is nested too deep")


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise JsonRefusedError("the JSON holds a number that is too long")
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JsonRefusedError("the JSON holds a number that is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise JsonRefusedError(f"{name} is not JSON")
