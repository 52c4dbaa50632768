"""Distance on one machine: a TCP relay that delays what passes it, and limits each connection's speed.

python -m tests.bench.distance TARGET-PORT ROUND-TRIP-SECONDS BYTES-A-SECOND     prints the port that it listens at

netem, which does the same in the kernel, is not in every kernel. What it does not imitate: TCP's slow start, and loss.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from tests.bench.servers import PROJECT

_PIECE = 256 << 10
_BURST_SECONDS = 0.02
"""How far behind its speed a connection may catch up: a thread wakes up late now and then."""


@contextlib.contextmanager
def distance(port: int, round_trip: float, speed: float) -> Iterator[int]:
    """A relay to a port of this machine, as a process of its own; yields the relay's port.

    `round_trip` is what a request and its answer take longer, in seconds; opening a connection takes as long again, as
    it does by TCP. `speed` is bytes a second of one connection, each way.
    """
    command = [sys.executable, "-m", "tests.bench.distance", str(port), str(round_trip), str(speed)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def main() -> None:
    target, round_trip, speed = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", target))
            opened = time.monotonic() + round_trip
            for source, sink in ((near, far), (far, near)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _Direction(source, sink, opened, round_trip / 2, speed).start()


class _Direction:
    """What passes one way: read at the connection's speed, and written when it has travelled."""

    def __init__(self, source: socket.socket, sink: socket.socket, opened: float, delay: float, speed: float) -> None:
        self._source, self._sink = source, sink
        self._opened, self._delay, self._speed = opened, delay, speed
        self._travelling: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def start(self) -> None:
        for part in (self._read, self._write):
            threading.Thread(target=part, daemon=True).start()

    def _read(self) -> None:
        """Takes no more than the speed allows, so that TCP holds the sender back."""
        free = self._opened
        while True:
            data = b""
            with contextlib.suppress(OSError):  # the other side has gone: that ends it, as an end does
                data = self._source.recv(_PIECE)
            now = time.monotonic()
            free = max(free, now - _BURST_SECONDS) + len(data) / self._speed
            self._travelling.put((max(free, now) + self._delay, data))
            if not data:
                return
            time.sleep(max(0.0, free - now))

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = self._travelling.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    break
                self._sink.sendall(data)
            self._sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
