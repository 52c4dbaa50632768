"""The HTTP routes of the deployed API, derived from the Chalice app; the local gateway shares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalice.app import Chalice


@dataclass(frozen=True, order=True)
class Route:
    """One method on one path, as API Gateway names it: `{proxy+}` is greedy, `{name}` is not."""

    method: str
    path: str

    @property
    def key(self) -> str:
        """The route key of an HTTP API, which is also the event's `resource` prefixed by its method."""
        return f"{self.method} {self.path}"


def routes(app: Chalice) -> list[Route]:
    """Every (method, path) that the app answers, sorted; Chalice dispatches on exactly these paths.

    Raises ValueError for an app without routes: a template made from it would deploy nothing that answers.
    """
    found = sorted(_declared(app))
    if not found:
        raise ValueError("the Chalice app has no routes")
    return found


def _declared(app: Chalice) -> Iterator[Route]:
    for path, methods in app.routes.items():
        for method in methods:
            yield Route(method, path)
