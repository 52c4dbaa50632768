"""How many uploads a relay receives at once: of each project and user, and one of each upload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.oci.errors import TooManyRequests
from chalicelib.oci.names import Target, project_of
from chalicelib.v2.relay.body import Body

ALL, OF_A_USER, OF_A_PROJECT = 4096, 512, 256
"""A docker client sends five layers at a time: so fifty of them may push into one project at once."""


class Shares:
    """The bodies that are being received. For the event loop alone."""

    def __init__(self) -> None:
        self._bodies: dict[str, Body] = {}
        """By upload. The latest request for an upload is the one whose client is still there."""
        self._of_project: Counter[str] = Counter()
        self._of_user: Counter[str] = Counter()

    @contextmanager
    def receiving(self, target: Target, body: Body) -> Iterator[None]:
        """Count a body while it is received; an earlier one for the same upload ends. Raises TooManyRequests."""
        project, upload = project_of(target.repository), target.reference
        is_full = self._of_project.total() >= ALL or self._of_user[body.user] >= OF_A_USER
        if is_full or self._of_project[project] >= OF_A_PROJECT:
            raise TooManyRequests("too many uploads at once", headers={"Retry-After": "5"})
        if upload in self._bodies:
            self._bodies[upload].overtake()
        self._bodies[upload] = body
        self._of_project[project] += 1
        self._of_user[body.user] += 1
        try:
            yield
        finally:
            _take_off(self._of_project, project)
            _take_off(self._of_user, body.user)
            if self._bodies.get(upload) is body:
                del self._bodies[upload]


def _take_off(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if counter[name] <= 0:
        del counter[name]
