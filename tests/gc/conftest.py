"""A clock that tests move, and the collector run beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from chalicelib.storage import conditions


class Clock:
    """What the code takes for the time: the real one, moved on by what a test asks for."""

    def __init__(self) -> None:
        self._ahead = 0
        self._now = conditions.now

    def now(self) -> int:
        return self._now() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += int(seconds * 1000)


@pytest.fixture(scope="session")
def session_clock() -> Iterator[Clock]:
    """One clock for the session of tests: it never goes back, so that nothing is younger than what came after it."""
    yield Clock()


@pytest.fixture
def clock(session_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    for name, module in list(sys.modules.items()):
        if name.startswith("chalicelib.") and getattr(module, "now", None) is conditions.now and module is not conditions:
            monkeypatch.setattr(module, "now", session_clock.now)
    monkeypatch.setattr(conditions, "now", session_clock.now)
    return session_clock
