"""Berth as `make run` starts it, for tests: a process with a port and a state folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
PASSWORD = "correct horse battery staple"
_UP_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Instance:
    """One Berth, started and stopped any number of times."""

    def __init__(self, state: Path, **variables: str) -> None:
        self.state = state
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.process: subprocess.Popen[str] | None = None
        self.facts: dict[str, Any] = {}
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("BERTH_", "AWS_"))}
        own = {"BERTH_PORT": str(self.port), "BERTH_STATE": str(state), "BERTH_ADMIN_PASSWORD": PASSWORD}
        self._environment = {**clean, **own, **variables}

    def launch(self) -> subprocess.Popen[str]:
        """Start it, and do not wait."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.run"],
            cwd=PROJECT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self.process

    def start(self) -> float:
        """Start it and wait until it says that it runs. Returns the seconds that it took."""
        began = time.monotonic()
        assert self.launch().stdout is not None
        lines = []
        for line in self.process.stdout:  # type: ignore[union-attr]
            lines.append(line)
            if line.startswith("Ctrl-C stops it"):
                self.facts = json.loads((self.state / "run.json").read_text())
                return time.monotonic() - began
        raise AssertionError("".join(lines))

    def run_to_end(self, within: float = _UP_SECONDS) -> tuple[int, str]:
        """Start it where it cannot run: the status and what it said."""
        process = self.launch()
        said, _ = process.communicate(timeout=within)
        return process.returncode, said

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Ask the supervisor to end, and wait: the status and what it said after its start."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=60)
        return self.process.returncode, said

    def kill(self) -> None:
        """Kill every process, the one that holds the data first."""
        assert self.process is not None
        for name in ("cloud_pid", "gateway_pid", "pid"):
            with contextlib.suppress(ProcessLookupError):  # what was ended before may have taken it along
                os.kill(self.facts[name], signal.SIGKILL)
        self.process.wait()
        self.wait_until_gone()

    def wait_until_gone(self) -> None:
        """Wait for the end of the processes that the last start made."""
        deadline = time.monotonic() + 30
        pids = [self.facts[name] for name in ("cloud_pid", "gateway_pid")]
        while any(_runs(pid) for pid in pids):
            assert time.monotonic() < deadline, f"one of {pids} still runs"
            time.sleep(0.05)

    def health(self) -> str:
        with urllib.request.urlopen(f"{self.url}/api/v2.0/health", timeout=30) as answer:
            return str(json.load(answer)["status"])


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
