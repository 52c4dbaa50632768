"""Pages of a list, as Harbor cuts them: `page`, `page_size`, `X-Total-Count` and `Link`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from chalicelib.api.errors import BadRequestError
from chalicelib.registry.http import Request

_DEFAULT_SIZE = 10
_SIZE_LIMIT = 100
_PAGE_LIMIT = 2**31

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """The entries of one page, and the headers that place it in the whole."""

    entries: Sequence[T]
    headers: dict[str, str]


def page(request: Request, entries: Sequence[T]) -> Page[T]:
    """The page of `entries` that `request` asks for. Raises BadRequestError for a page or size out of range."""
    number = _number(request, "page", 1, _PAGE_LIMIT)
    size = _number(request, "page_size", _DEFAULT_SIZE, _SIZE_LIMIT)
    start = (number - 1) * size
    links = []
    if number > 1 and start - size < len(entries):
        links.append(_link(request, number - 1, size, "prev"))
    if start + size < len(entries):
        links.append(_link(request, number + 1, size, "next"))
    headers = {"X-Total-Count": str(len(entries)), **({"Link": " , ".join(links)} if links else {})}
    return Page(entries[start : start + size], headers)


def _number(request: Request, name: str, default: int, limit: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(limit)) and 1 <= int(text) <= limit):
        raise BadRequestError(f"{name} must be a number from 1 to {limit}")
    return int(text)


def _link(request: Request, number: int, size: int, relation: str) -> str:
    query = urlencode({**request.query, "page": number, "page_size": size})
    return f'<{request.path}?{query}>; rel="{relation}"'
