"""Trying again: after another writer was faster, and after a service did not answer.

Nearly every write of Berth's holds only if what was read before it still stands. Where it did not, all is read, decided
and written again; how often depends on how many write the same thing at the same moment.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

LOW = 4
"""Attempts at what one person or job changes at a time, such as an account, a label or a policy: two clicks at once."""
MEDIUM = 8
"""Attempts at what several functions change at once, such as a blob's or a manifest's record, or a schedule."""
HIGH = 12
"""Attempts at what every push to a project changes: its totals. A hundred pushes at once end within them."""

_FIRST_SECONDS = 0.02
_LONGEST_SECONDS = 0.64


def attempts(most: int) -> Iterator[int]:
    """Number up to `most` attempts from 0 on. The second is made at once, each further one after a longer pause.

    The pauses are random, so that writers who were in each other's way do not meet again.
    """
    for attempt in range(most):
        if attempt > 1:
            longest = min(_FIRST_SECONDS * 2 ** (attempt - 1), _LONGEST_SECONDS)
            time.sleep(random.uniform(0, longest))  # noqa: S311 -- jitter, not a secret
        yield attempt


def pauses(first_seconds: float, longest_seconds: float, growth: float = 2.0) -> Iterator[float]:
    """The seconds to wait before each next call of a service, without an end.

    Each is random between half and all of a time that grows up to `longest_seconds`: clients that a service refused
    together do not come back together.
    """
    pause = first_seconds
    while True:
        yield random.uniform(pause / 2, pause)  # noqa: S311 -- jitter, not a secret
        pause = min(pause * growth, longest_seconds)
