"""The processes of `make run`: starting, watching and stopping them, and how they end when their supervisor does."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn, Self

from infra.local.options import StartError

PROJECT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LOG_BYTES = 16 << 20


class Child:
    """A module of infra.local running as a process of its own; a context that stops it.

    It logs to `<folder>/<name>.log`, and ends with its standard input, so also when this process is killed.
    """

    def __init__(
        self, name: str, module: str, arguments: list[str], variables: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        self._busy = folder / "ministack"
        self.trim_log()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"infra.local.{module}", *arguments],
                cwd=PROJECT,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the supervisor, which stops its children in their order
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Ask it to stop, and wait as long as it gets on with it. A second Ctrl-C does not wait."""
        self._process.terminate()
        try:
            while not self._ends_within(_STOP_SECONDS):
                pass
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
            print(f"berth: the {self.name} process was killed; what it had acknowledged is kept", flush=True)

    def _ends_within(self, seconds: float) -> bool:
        """False when it is still there but saving. Raises TimeoutExpired when nothing came of it in that time."""
        before = _contents(self._busy)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            if _contents(self._busy) == before:
                raise
            return False
        return True

    def tell(self, line: str) -> None:
        """Write a line to its standard input, which stays open."""
        stdin = self._process.stdin
        # A process that has ended already says why in its log, which wait_until_up reads.
        with contextlib.suppress(BrokenPipeError):
            if stdin:
                stdin.write(f"{line}\n".encode())
                stdin.flush()

    def wait_until_up(self, url: str) -> None:
        """Wait until a GET of `url` answers 200. Raises StartError."""
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310 -- made here
                return
            time.sleep(0.05)
        self._fail("did not start")

    def require_alive(self) -> None:
        """Raises StartError, with what the process said last, when it has ended."""
        status = self._process.poll()
        if status is not None:
            ending = f"was ended by {signal.Signals(-status).name}" if status < 0 else "ended"
            self._fail(ending, "; run `make run` again")

    def _fail(self, what: str, advice: str = "") -> NoReturn:
        said = self._log.read_text(errors="replace").strip().splitlines()
        reason = next((line for line in reversed(said) if not line.startswith("{")), "it gave no reason")
        raise StartError(f"the {self.name} process {what}: {reason} (more in {self._log}){advice}")

    def trim_log(self) -> None:
        """Start the log anew when it is large, and keep the one before. It is appended to, so it can be cut."""
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            shutil.copyfile(self._log, self._log.with_suffix(".log.1"))
            os.truncate(self._log, 0)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let a signal that asks to stop wait for the end of the block, which starts what has to be stopped then.

    In the middle of a start it would leave a process that nobody knows. Raises KeyboardInterrupt at the end.
    """
    came: list[int] = []
    asking = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in asking}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _contents(folder: Path) -> dict[Path, tuple[int, int]]:
    """What shows that files are being written there."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found[path] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def end_with_parent() -> None:
    """Stop this process, as SIGTERM does, when its standard input closes: the supervisor holds the other end."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
