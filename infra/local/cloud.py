"""The local cloud: MiniStack's ASGI app under uvicorn, with the journal around it.

python -m infra.local.cloud <state folder> <port>        (started by infra/local/run.py)

Its own command serves the same app by hypercorn, at half the speed and without the journal.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import uvicorn

from infra.local.journal import JournaledCloud, JournalDamagedError, JournalFile
from infra.local.processes import end_with_parent

_SAVED = ("dynamodb.json", "secretsmanager.json")
"""The files of MiniStack's state that the journal stands in for until they are saved."""


def main() -> None:
    state, port = Path(sys.argv[1]), int(sys.argv[2])
    os.environ.update(environment(state, port))
    from ministack.app import app  # noqa: PLC0415 -- reads its settings when it is imported

    try:
        journal = JournalFile(state / "journal.jsonl")
    except JournalDamagedError as error:
        sys.exit(str(error))
    cloud = JournaledCloud(app, journal)
    end_with_parent()
    server = uvicorn.Server(
        uvicorn.Config(
            cloud, "127.0.0.1", port, http="httptools", loop="uvloop", access_log=False, log_level="error"
        )
    )
    started = time.time()
    server.run()
    if cloud.recovered and _saved_since(state / "ministack", started):
        journal.clear()


def environment(state: Path, port: int) -> dict[str, str]:
    """MiniStack's settings: everything in the state folder, and none of the listeners that Berth has no use for."""
    return {
        "GATEWAY_PORT": str(port),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state / "ministack"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "ERROR",
    }


def _saved_since(folder: Path, started: float) -> bool:
    """Whether MiniStack, which saves only when it stops, has saved what the journal holds since it was started."""
    return all((folder / name).exists() and (folder / name).stat().st_mtime > started for name in _SAVED)


if __name__ == "__main__":
    main()
