"""The local gateway as a process: the Chalice app and the upload relay under uvicorn.

python -m infra.local.serve <bind address> <port>        (started by infra/local/run.py with the functions' environment)
"""

from __future__ import annotations

import sys

import uvicorn

from app import app
from chalicelib import relay
from infra.http_routes import routes
from infra.local.gateway import Gateway
from infra.local.processes import end_with_parent

RELAY_PREFIX = "/relay"


def main() -> None:
    address, port = sys.argv[1], int(sys.argv[2])
    gateway = Gateway(
        app,
        [(route.method, route.path) for route in routes(app)],
        {f"{RELAY_PREFIX}/": relay.app},
    )
    end_with_parent()
    uvicorn.run(
        gateway,
        host=address,
        port=port,
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
