"""The local gateway as a process: the Chalice app and the upload relay under uvicorn.

python -m infra.local.serve <bind address> <port> <administrator> [<bucket>]

Started by infra/local/supervisor.py with the functions' environment. Before it serves, it sets the administrator's
account, with the password that it reads from its standard input. With a bucket, presigned downloads pass through.
"""

from __future__ import annotations

import gc
import os
import resource
import sys

import uvicorn

from app import app
from chalicelib import background
from chalicelib.bootstrap import bootstrap
from chalicelib.v2 import relay
from chalicelib.v2.relay.protocol import BoundedHeads
from chalicelib.webhooks.dispatch import resume
from infra.http_routes import routes
from infra.local.downloads import Downloads
from infra.local.gateway import AsgiApp, Gateway
from infra.local.processes import end_with_parent

RELAY_PREFIX = "/relay"

_OPEN_FILES = 8192
"""For the connections of as many uploads as the relay takes at once, and as many more. Shells allow 256 or 1,024."""


def main() -> None:
    address, port, administrator, *buckets = sys.argv[1:]
    bootstrap(administrator, sys.stdin.readline().rstrip("\n"))
    resume(0)  # events and deliveries that were under way when the local cloud was killed: it keeps no queues
    mounts: dict[str, AsgiApp] = {f"{RELAY_PREFIX}/": relay.app}
    mounts |= {f"/{bucket}/": Downloads(os.environ["AWS_ENDPOINT_URL"]) for bucket in buckets}
    gateway = Gateway(app, [(route.method, route.path) for route in routes(app)], mounts, background.finish)
    background.start_thread()
    end_with_parent()
    _allow_connections()
    gc.collect()
    gc.freeze()  # what was imported stays: looking for garbage in it would hold up requests for 50 ms at a time
    sys.setswitchinterval(0.0005)  # a thread that has its answer waits that long for the others, not 5 ms
    uvicorn.run(
        gateway,
        host=address,
        port=int(port),
        http=BoundedHeads,
        loop="uvloop",
        access_log=False,
        proxy_headers=False,  # the gateway passes them on; it needs no other address of the client
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def _allow_connections() -> None:
    """Raise the soft limit of open files, as far as the hard one lets it be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
