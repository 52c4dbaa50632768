"""What a saved state of MiniStack says of the run that saved it, put right for the one that begins.

Two things are of a run, and MiniStack saves them all the same: the port, which is in the URLs by which queues are kept,
and how far each function has read the stream of a table, whose records it does not save. With either as it was, what
queues and streams bring would wait for ever.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

PORT_IN_URLS = "4566"
"""The port in queues' URLs, in place of that of the run. Nobody connects to it: the path of a URL names the queue."""


def put_right(state: Path) -> None:
    """Change the files of a state, before MiniStack reads them."""
    _rename_queues(state / "sqs.json")
    _rewind_streams(state / "lambda.json")


def _rename_queues(file: Path) -> None:
    """States that an older Berth has saved name them by the port of its run."""
    if file.exists():
        text = file.read_text()
        file.write_text(re.sub(r"http://127\.0\.0\.1:[0-9]+/", f"http://127.0.0.1:{PORT_IN_URLS}/", text))


def _rewind_streams(file: Path) -> None:
    """Streams begin empty, so they are read from their beginning."""
    with suppress(FileNotFoundError, ValueError):  # of a damaged file MiniStack says that it cannot be loaded
        saved = json.loads(file.read_text())
        positions = saved["payload"]["dynamodb_stream_positions"]["data"]
        positions.update(dict.fromkeys(positions, 0))
        file.write_text(json.dumps(saved))
