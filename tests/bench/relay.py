"""The upload relay as it is deployed, a process of its own: a large upload alone, and beside many that hardly move."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench import servers
from tests.bench.scale import Scale
from tests.bench.servers import PASSWORD, PROJECT, Berth
from tests.bench.table import Row
from tests.hostile.slow_uploads import slow_uploads

_SLOW = 500
_SLOW_PROJECTS = 2
"""One has room for 256 uploads at once."""
_BLOCK = os.urandom(1 << 20)
_HOSTILE, _HONEST, _USER_PASSWORD = "mallory", "alice", "Bench-Passw0rd"
_HEALTH_SECONDS = 0.02


def rows(folder: Path, size: Scale) -> Iterator[Row]:
    with servers.berth(folder / "berth") as berth, _relay(folder, berth) as (port, process):
        for user in (_HOSTILE, _HONEST):
            _call(berth, "admin", PASSWORD, "POST", "/api/v2.0/users", _account(user))
        for name in ("honest", *(f"slow{number}" for number in range(_SLOW_PROJECTS))):
            user = _HONEST if name == "honest" else _HOSTILE
            _call(berth, user, _USER_PASSWORD, "POST", "/api/v2.0/projects", {"project_name": name})
        slow = [_start(berth, _HOSTILE, f"slow{number % _SLOW_PROJECTS}") for number in range(_SLOW)]
        alone: list[float] = []
        beside: list[float] = []
        usual: list[float] = []
        times: list[float] = []
        for _ in range(size.layer_repetitions):
            with _health(port, usual):
                alone.append(_push(berth, port, size.layer_bytes))
            with slow_uploads(port, slow, again=True), _health(port, times):
                beside.append(_push(berth, port, size.layer_bytes))
        amount = f"{size.layer_bytes / (1 << 30):g} GiB"
        name = f"{amount} uploaded beside {_SLOW} slow uploads; peer: alone"
        yield Row(name, "s", statistics.median(beside), statistics.median(alone), at_most=1.5)
        more = f"(p50 {_percentile(times, 50):.1f}; alone {_percentile(usual, 99):.1f}; {len(times)} asked)"
        yield Row("/healthz meanwhile, p99", "ms", _percentile(times, 99), at_most=100, berth_more=more)
        yield Row("peak memory of the relay", "MB", servers.peak_bytes(process.pid) / 1e6, at_most=1000)


def _percentile(seconds: list[float], part: int) -> float:
    """In milliseconds."""
    return 1000 * sorted(seconds)[len(seconds) * part // 100]


def _account(name: str) -> dict[str, str]:
    return {"username": name, "email": f"{name}@example.com", "realname": name, "password": _USER_PASSWORD}


@contextlib.contextmanager
def _relay(folder: Path, berth: Berth) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A relay on the stores of `berth`, with the protocol of its container (Dockerfile)."""
    protocol = "chalicelib.v2.relay.protocol:BoundedHeads"
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener, (folder / "relay.log").open("ab") as log:
        command = [sys.executable, "-m", "uvicorn", "chalicelib.v2.relay:app", "--http", protocol, "--no-access-log"]
        process = subprocess.Popen(
            [*command, "--fd", str(listener.fileno())],
            cwd=PROJECT,
            env={**os.environ, **berth.environment},
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
        try:
            yield listener.getsockname()[1], process
        finally:
            process.terminate()
            process.wait()


def _call(
    berth: Berth, user: str, password: str, method: str, path: str, document: object = None
) -> http.client.HTTPMessage:
    """The headers of the answer. Raises HTTPError."""
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    body = b"" if document is None else json.dumps(document).encode()
    request = urllib.request.Request(f"http://{berth.name}{path}", body, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: http.client.HTTPMessage = answer.headers
        return found


def _start(berth: Berth, user: str, project: str) -> str:
    """An upload's address, of which the relay needs path and query."""
    location = _call(berth, user, _USER_PASSWORD, "POST", f"/v2/{project}/app/blobs/uploads/")["Location"]
    url = urlsplit(location)
    return f"{url.path}?{url.query}"


def _push(berth: Berth, port: int, size: int) -> float:
    """Upload `size` bytes in one request, as docker does; the seconds that it took."""
    count = size // len(_BLOCK)
    hasher = hashlib.sha256()
    for _ in range(count):
        hasher.update(_BLOCK)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    location = _start(berth, _HONEST, "honest")
    began = time.monotonic()
    connection.request("PATCH", location, (_BLOCK for _ in range(count)), {"Content-Length": str(count * len(_BLOCK))})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 202:
        raise SystemExit(f"bench: the relay answered {answer.status} to a PATCH")
    url = urlsplit(answer.headers["Location"])
    connection.request("PUT", f"{url.path}?{url.query}&digest=sha256:{hasher.hexdigest()}")
    answer = connection.getresponse()
    answer.read()
    if answer.status != 201:
        raise SystemExit(f"bench: the relay answered {answer.status} to a PUT")
    return time.monotonic() - began


@contextlib.contextmanager
def _health(port: int, times: list[float]) -> Iterator[None]:
    """Add to `times` what each health check of the context takes, in seconds: over connections of their own."""
    done = threading.Event()

    def ask() -> None:
        while not done.wait(_HEALTH_SECONDS):
            began = time.monotonic()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as answer:
                answer.read()
            times.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
