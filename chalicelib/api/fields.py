"""The fields of JSON bodies and of answers, checked and written one by one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chalicelib.api.errors import BadRequestError, NotFoundError

_NUMBER_LIMIT = 2**53


def text(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A string. Raises BadRequestError when it is missing and has no default, or is none."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise BadRequestError(f"{name} must be a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRequestError(f"{name} is not Unicode") from error
    return value


def require_length(name: str, value: str, limit: int) -> None:
    """Raises BadRequestError for a string that is longer than `limit` characters."""
    if len(value) > limit:
        raise BadRequestError(f"{name} may have {limit} characters")


def number(body: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A whole number. Raises BadRequestError as `text` does."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _NUMBER_LIMIT:
        raise BadRequestError(f"{name} must be a whole number")
    return value


def boolean(body: Mapping[str, Any], name: str, default: bool | None = None) -> bool:
    """True or false. Raises BadRequestError as `text` does."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, bool):
        raise BadRequestError(f"{name} must be true or false")
    return value


def mapping(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object; empty when it is missing. Raises BadRequestError."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequestError(f"{name} must be an object")
    return value


_TRUE = frozenset({"true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"})
_FALSE = frozenset({"false", "0", "no", "n", "off", "unselected", "unchecked", "f", "disabled"})
"""Words of a parameter. Those for true are go-openapi's (swag, ConvertBool), which takes any other for false."""


def is_true(text: str) -> bool:
    """Whether a parameter's text stands for true."""
    return text.lower() in _TRUE


def query_boolean(query: Mapping[str, str], name: str) -> bool | None:
    """A query parameter that says true or false, or nothing. Raises BadRequestError."""
    value = query.get(name, "").lower()
    if not value:
        return None
    if value not in _TRUE | _FALSE:
        raise BadRequestError(f"{name} must be true or false")
    return value in _TRUE


def query_number(query: Mapping[str, str], name: str) -> int:
    """A query parameter that must be a number. Raises BadRequestError."""
    value = query.get(name, "")
    if not _is_number(value):
        raise BadRequestError(f"{name} must be a number")
    return int(value)


def identifier(parameters: Mapping[str, str], name: str) -> int:
    """The number that a path's parameter holds. Raises NotFoundError: there is nothing under what is none."""
    value = parameters[name]
    if not _is_number(value):
        raise NotFoundError(f"{name} must be a number")
    return int(value)


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 16


def comparable_time(milliseconds: int) -> str:
    """A time as a range of `q` has it, `2020-04-09 02:36:00`, with its milliseconds."""
    return time(milliseconds).replace("T", " ").removesuffix("Z")


_NEVER = "0001-01-01T00:00:00.000Z"
"""Go's zero time, which Harbor answers for a pull that has not been."""


def time_or_never(milliseconds: int | None) -> str:
    return _NEVER if milliseconds is None else time(milliseconds)


def time(milliseconds: int) -> str:
    """A time since 1970 in the swagger's form (RFC 3339)."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
