"""`make run`: the whole of Berth on this machine, from one CloudFormation template.

Settings come from the environment (infra/local/options.py). Runs until Ctrl-C or SIGTERM, or until a part of it fails:
then one line says what and what to do, and the status is 1.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from types import FrameType

from infra.local.options import StartError, from_environment

_SAME_SECONDS = 1.0


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _Interrupt())
    try:
        options = from_environment()
        # Imported here so that a Ctrl-C meanwhile is a stop as any other.
        from infra.local.supervisor import run  # noqa: PLC0415

        run(options)
    except StartError as error:
        sys.exit(f"berth: {error}")
    except KeyboardInterrupt:
        # All is stopped. Python ends with the default handlers again, by which another Ctrl-C now would be a failure.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        print("berth: stopped", flush=True)


class _Interrupt:
    """A signal that stops; again, that stops at once. One that comes double, as by `timeout`, is one."""

    _last = -math.inf

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        last, self._last = self._last, time.monotonic()
        if self._last - last > _SAME_SECONDS:
            raise KeyboardInterrupt


if __name__ == "__main__":
    main()
