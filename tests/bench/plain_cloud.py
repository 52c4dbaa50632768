"""The local cloud without its journal and its state on disk: for measurements that write much and keep nothing.

python -m tests.bench.plain_cloud <state folder> <port>
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn

from infra.local import cloud
from infra.local.processes import end_with_parent
from tests.bench import ordered_queries


def main() -> None:
    state, port = Path(sys.argv[1]), int(sys.argv[2])
    os.environ.update(cloud.environment(state, state / "ministack") | {"PERSIST_STATE": "0"})
    from ministack.app import app

    ordered_queries.install()
    end_with_parent()
    uvicorn.run(app, host="127.0.0.1", port=port, http="httptools", loop="uvloop", access_log=False, log_level="error")


if __name__ == "__main__":
    main()
