"""The local cloud: MiniStack's ASGI app under uvicorn, its writes made durable.

python -m infra.local.cloud <state folder> <port> [--in-turn]        (started by infra/local/run.py)

With --in-turn functions are served as clients are: for tests, which wait for what functions do and measure nothing.
Its own command serves the same app by hypercorn, at half the speed and without the journal.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import uvicorn

from infra.local import carried_over
from infra.local.durability import DurableCloud
from infra.local.journal import Journal, JournalDamagedError
from infra.local.precedence import Precedence
from infra.local.processes import end_with_parent
from infra.local.ranges import SingleRanges
from infra.local.snapshots import SnapshotDamagedError, Snapshots

IN_TURN = "--in-turn"
_ADVICE = "restore it from a backup, or choose another folder with BERTH_STATE"


def main() -> None:
    state, port = Path(sys.argv[1]), int(sys.argv[2])
    try:
        journal, snapshots = Journal(state / "journal.jsonl"), Snapshots(state / "ministack")
    except (JournalDamagedError, SnapshotDamagedError, OSError) as error:
        sys.exit(f"{error}: {_ADVICE}")
    carried_over.put_right(snapshots.current)
    os.environ.update(environment(state, snapshots.current))
    from ministack.app import app  # noqa: PLC0415 -- reads its settings when it is imported

    logging.basicConfig(format="%(message)s")
    _drop_half_written(state / "s3")
    end_with_parent()
    cloud = DurableCloud(app, journal, snapshots)
    served = SingleRanges(cloud)
    config = uvicorn.Config(
        served if sys.argv[3:] == [IN_TURN] else Precedence(served),
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="uvloop",
        lifespan="on",  # without it uvicorn would serve on after MiniStack has failed to load its state
        access_log=False,
        log_level="error",
        timeout_graceful_shutdown=10,  # a client that reads an object slowly must not keep the state from being saved
    )
    try:
        uvicorn.Server(config).run()
    except SystemExit:  # uvicorn's way to say that it did not start, after it has logged why
        if cloud.failure:
            sys.exit(f"{state / 'ministack'} cannot be loaded ({cloud.failure}): {_ADVICE}")
        raise


def environment(state: Path, snapshot: Path) -> dict[str, str]:
    """MiniStack's settings: everything in the state folder, and nothing beside it that Berth has no use for."""
    return {
        "GATEWAY_PORT": carried_over.PORT_IN_URLS,
        # Of the names that clients use it takes none for a bucket's, as it would `berth` in `berth.localhost`.
        "MINISTACK_HOST": "127.0.0.1",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(snapshot),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # It removes containers of other MiniStacks when it finds a Docker daemon.
        "DOCKER_HOST": f"unix://{state / 'no-docker'}",
        "LOG_LEVEL": "WARNING",
    }


def _drop_half_written(objects: Path) -> None:
    """Remove what MiniStack was writing when it was killed: it would take that for objects. No key of ours ends so."""
    for path in objects.rglob("*.tmp"):
        path.unlink()


if __name__ == "__main__":
    main()
