"""Pages of a list, as Harbor cuts them: `page`, `page_size`, `X-Total-Count` and `Link`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from chalicelib.api.errors import BadRequestError
from chalicelib.http import Request

_DEFAULT_SIZE = 10
_SIZE_LIMIT = 100
_PAGE_LIMIT = 2**31
_NUMBER = re.compile(r"(-?)0*([0-9]+)\Z", re.ASCII)

WHOLE = 1000
"""Entries of a page of size 0 in a list of small ones, of which clients look for a name."""

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
        size = self.request.query.get("page_size", self.size) if self.size > _SIZE_LIMIT else self.size
        query = urlencode({**self.request.query, "page": number, "page_size": size})
        return f'<{self.request.path}?{query}>; rel="{relation}"'


@dataclass(frozen=True)
class Page(Generic[T]):
    """The entries of one page, and the headers that place it in the whole."""

    entries: Sequence[T]
    headers: dict[str, str]


def window(request: Request, whole: int = _SIZE_LIMIT) -> Window:
    """The page that `request` asks for. Raises BadRequestError for a page or size that is too large, or no number.

    As in Harbor (src/lib/orm/query.go), whose Go client sends zeros for what its caller left out, page 0 is the first,
    and page_size 0 sets no limit. Here it is `whole` entries: an answer has to fit into a response of Lambda's, and
    `X-Total-Count` and `Link` say what is left.
    """
    number = _number(request, "page", 1, _PAGE_LIMIT)
    return Window(request, max(number, 1), _number(request, "page_size", _DEFAULT_SIZE, _SIZE_LIMIT) or whole)


def page(request: Request, entries: Sequence[T], whole: int = _SIZE_LIMIT) -> Page[T]:
    """The page of `entries` that `request` asks for. Raises BadRequestError as `window` does."""
    asked = window(request, whole)
    return Page(entries[asked.start : asked.start + asked.size], asked.headers(len(entries)))


def _number(request: Request, name: str, default: int, limit: int) -> int:
    """A number from 0 to `limit`: one below 0 counts as 0. Raises BadRequestError."""
    match = _NUMBER.match(request.query.get(name) or str(default))
    if match is None:
        raise BadRequestError(f"{name} must be a number")
    sign, digits = match.groups()
    if not sign and (len(digits) > len(str(limit)) or int(digits) > limit):
        raise BadRequestError(f"{name} must be a number up to {limit}")
    return 0 if sign else int(digits)
