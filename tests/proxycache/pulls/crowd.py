"""A process with many clients that pull the same at the same time: `python -m tests.proxycache.pulls.crowd`.

It prints a line when it is ready, waits for one, and prints how many answers had each status and body.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[3]
_THREADS = 50


def pull_at_once(processes: int, clients: int, path: str, authorization: str) -> Counter[str]:
    """Have as many processes with as many clients each pull `path`; how often each status and body's digest came."""
    command = [sys.executable, "-m", __name__, path, authorization, str(clients)]
    crowd = [
        subprocess.Popen(command, cwd=_PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for each in crowd:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in crowd:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    total: Counter[str] = Counter()
    for each in crowd:
        output, _ = each.communicate(timeout=120)
        total.update(json.loads(output.splitlines()[-1]))
    return total


def _main(path: str, authorization: str, clients: int) -> None:
    from chalicelib.http import Request
    from chalicelib.v2.routes import handle

    request = Request("GET", path, {}, {"authorization": authorization}, b"", "http://localhost")

    def pull(_: int) -> str:
        answer = handle(request)
        return f"{answer.status} {hashlib.sha256(answer.body).hexdigest()}"

    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(_THREADS) as pool:
        counted = Counter(pool.map(pull, range(clients)))
    print(json.dumps(counted), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
