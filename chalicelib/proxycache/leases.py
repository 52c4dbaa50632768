"""The lease of a blob that is fetched from an upstream registry: one holder, who must go on saying that he lives.

A holder that slept through the end of its lease finds it another's, and stops. What keeps it from doing harm until then
is the upload session, whose every write names the version that it follows on: the next holder begins by writing it anew
(registry/upload_writer.py: take_over).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.observability import logger
from chalicelib.oci.errors import Unavailable
from chalicelib.proxycache.filling import ASKED_SECONDS
from chalicelib.proxycache.reception import HaltedError
from chalicelib.proxycache.store import fills as table
from chalicelib.proxycache.store.fills import FillRequest, Lease
from chalicelib.storage.conditions import is_transient, new_id, now

LEASE_SECONDS = 20
"""How long a holder may be silent."""
_BEAT_SECONDS = 5.0


class Hold:
    """A lease that is held. `halt` is set when it is lost, and at `deadline` (of time.monotonic)."""

    def __init__(self, lease: Lease, wanted: FillRequest, execution: str, deadline: float) -> None:
        self.lease = lease
        self.halt = threading.Event()
        self.is_lost = False
        self.is_done = False
        """Set by the holder: there is nothing left that the next one could go on with."""
        self._wanted, self._execution, self._deadline = wanted, execution, deadline
        self._ends = time.monotonic() + LEASE_SECONDS
        self._over = threading.Event()

    def require(self) -> None:
        """Make sure that the lease is still this holder's, for a while. Raises HaltedError."""
        self._extend()
        if self.is_lost:
            raise HaltedError

    def beat(self) -> None:
        """Hold the lease until `end`; a thread's whole work."""
        while not self._over.wait(self._pause()):
            try:
                self._extend()
                table.renew(self._wanted, self._execution, now() + ASKED_SECONDS * 1000)
            except Exception as error:
                if not (is_transient(error) or isinstance(error, Unavailable)):
                    logger.exception("a lease could not be extended")
            self.is_lost = self.is_lost or time.monotonic() > self._ends
            if self.is_lost or time.monotonic() > self._deadline:
                self.halt.set()

    def _pause(self) -> float:
        """Seconds until the next beat; the last one before `halt` is set comes at the deadline."""
        if self.halt.is_set():
            return _BEAT_SECONDS
        return min(_BEAT_SECONDS, max(0.1, self._deadline - time.monotonic()))

    def end(self) -> None:
        self._over.set()

    def _extend(self) -> None:
        present = time.monotonic()
        if table.extend(self.lease, now() + LEASE_SECONDS * 1000):
            self._ends = present + LEASE_SECONDS
        else:
            self.is_lost = True


@contextmanager
def held(wanted: FillRequest, execution: str, deadline: float) -> Iterator[Hold | None]:
    """Hold the lease of a blob in the context, at most until `deadline`; None when another holds it."""
    lease = table.acquire(wanted.registry, wanted.digest, new_id(), now() + LEASE_SECONDS * 1000)
    if lease is None:
        yield None
        return
    hold = Hold(lease, wanted, execution, deadline)
    beating = threading.Thread(target=hold.beat, daemon=True, name="lease")
    beating.start()
    try:
        yield hold
    finally:
        hold.end()
        beating.join()
        table.release(lease, resumable=not hold.is_done)
