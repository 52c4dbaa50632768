"""How many uploads a relay receives at once: of each project, and one of each upload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.registry.errors import TooManyRequests
from chalicelib.registry.names import Target, project_of
from chalicelib.relay.body import Body

ALL, OF_A_PROJECT = 2048, 256
"""A docker client sends five layers at a time: so fifty of them may push into one project at once."""


class Shares:
    """The bodies that are being received. For the event loop alone."""

    def __init__(self) -> None:
        self._bodies: dict[str, Body] = {}
        """By upload. The latest request for an upload is the one whose client is still there."""
        self._of_project: Counter[str] = Counter()

    @contextmanager
    def receiving(self, target: Target, body: Body) -> Iterator[None]:
        """Count a body while it is received; an earlier one for the same upload ends. Raises TooManyRequests."""
        project, upload = project_of(target.repository), target.reference
        if self._of_project[project] >= OF_A_PROJECT or self._of_project.total() >= ALL:
            raise TooManyRequests("too many uploads at once", headers={"Retry-After": "5"})
        if upload in self._bodies:
            self._bodies[upload].overtake()
        self._bodies[upload] = body
        self._of_project[project] += 1
        try:
            yield
        finally:
            self._of_project[project] -= 1
            if not self._of_project[project]:
                del self._of_project[project]
            if self._bodies.get(upload) is body:
                del self._bodies[upload]
