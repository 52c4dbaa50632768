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
class Window:
    """The page that a request asks for."""

    request: Request
    number: int
    size: int

    @property
    def start(self) -> int:
        """The index of its first entry."""
        return (self.number - 1) * self.size

    def headers(self, total: int) -> dict[str, str]:
        """What places the page in the whole list of `total` entries."""
        links = []
        if self.number > 1 and self.start - self.size < total:
            links.append(self._link(self.number - 1, "prev"))
        if self.start + self.size < total:
            links.append(self._link(self.number + 1, "next"))
        return {"X-Total-Count": str(total), **({"Link": " , ".join(links)} if links else {})}

    def _link(self, number: int, relation: str) -> str:
        query = urlencode({**self.request.query, "page": number, "page_size": self.size})
        return f'<{self.request.path}?{query}>; rel="{relation}"'


@dataclass(frozen=True)
class Page(Generic[T]):
    """The entries of one page, and the headers that place it in the whole."""

    entries: Sequence[T]
    headers: dict[str, str]


def window(request: Request) -> Window:
    """Raises BadRequestError for a page or size out of range."""
    number = _number(request, "page", 1, _PAGE_LIMIT)
    return Window(request, number, _number(request, "page_size", _DEFAULT_SIZE, _SIZE_LIMIT))


def page(request: Request, entries: Sequence[T]) -> Page[T]:
    """The page of `entries` that `request` asks for. Raises BadRequestError for a page or size out of range."""
    asked = window(request)
    return Page(entries[asked.start : asked.start + asked.size], asked.headers(len(entries)))


def _number(request: Request, name: str, default: int, limit: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(limit)) and 1 <= int(text) <= limit):
        raise BadRequestError(f"{name} must be a number from 1 to {limit}")
    return int(text)
