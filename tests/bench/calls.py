"""AWS calls that each kind of request makes of the running stack, counted as tests/registry/test_budgets.py does.

`count` starts this module in a process of its own, with the environment of Berth's functions.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

from tests.bench.servers import PROJECT, Berth
from tests.bench.table import Row

_BUDGETS = {
    "manifest by digest, cold": 1,
    "manifest by digest, warm": 1,
    "manifest by tag, cold": 2,
    "manifest by tag, warm": 2,
    "blob": 1,
    "tags list": 1,
    "referrers": 1,
    "start upload": 3,
    "put manifest": 6,
}
"""design.md, section 3: reads and writes together."""


def rows(berth: Berth, repository: str) -> Iterator[Row]:
    command = [sys.executable, "-m", "tests.bench.calls", repository]
    done = subprocess.run(command, cwd=PROJECT, env=berth.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: the calls could not be counted: {done.stderr[-2000:]}")
    counted: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    for kind, calls in counted.items():
        yield Row(f"AWS calls: {kind}", "calls", calls, at_most=_BUDGETS[kind])


def main(repository: str) -> None:
    # Imported here: Berth's settings are in this process's environment, not in the benchmark's.
    from chalicelib.access import tokens
    from chalicelib.access.authentication import Caller
    from chalicelib.http import Request, Response
    from chalicelib.registry.pull import _contents
    from chalicelib.v2.routes import handle
    from tests.registry.images import push_image
    from tests.registry.test_budgets import counted

    token = tokens.issue(Caller("admin", is_admin=True), [f"repository:{repository}:pull,push"]).text
    headers = {"authorization": f"Bearer {token}", "content-type": "application/vnd.oci.image.manifest.v1+json"}

    def send(method: str, path: str, body: bytes = b"") -> Response:
        return handle(Request(method, f"/v2/{repository}/{path}", {}, headers, body, "http://localhost"))

    digest, content = push_image(repository, "v1")
    layer = json.loads(content)["layers"][0]["digest"]
    send("GET", "tags/list")
    kinds: dict[str, Callable[[], Response]] = {
        "manifest by digest, cold": lambda: send("GET", f"manifests/{digest}"),
        "manifest by digest, warm": lambda: send("GET", f"manifests/{digest}"),
        "manifest by tag, cold": lambda: send("GET", "manifests/v1"),
        "manifest by tag, warm": lambda: send("GET", "manifests/v1"),
        "blob": lambda: send("HEAD", f"blobs/{layer}"),
        "tags list": lambda: send("GET", "tags/list"),
        "referrers": lambda: send("GET", f"referrers/{digest}"),
        "start upload": lambda: send("POST", "blobs/uploads/"),
        "put manifest": lambda: send("PUT", "manifests/v1", content),
    }
    result = {}
    for kind, request in kinds.items():
        if kind.endswith("cold"):
            _contents.__init__(1 << 20)  # type: ignore[misc]  # as in a container that has served nothing yet
        with counted() as calls:
            response = request()
        if response.status >= 400:
            sys.exit(f"{kind}: {response.status} {response.body.decode()}")
        result[kind] = len(calls)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
