"""The journal of the local cloud: what DynamoDB and Secrets Manager writes have made of things, on disk.

The file is append-only. A line stands for one acknowledged request and is a JSON array of its images:
{"table", "key", "item"} is what the request has left of an item, null when it is gone; {"secret", "value"} is the
current value of a secret, null when it is deleted. Images, unlike requests, can be written twice and over any older
state, so a line may be replayed that MiniStack has saved already (docs/decisions/local-durability.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Image = dict[str, Any]

COMPACT_BYTES = 16 << 20
"""A journal that has grown to this, and to twice what it was after the last time, is rewritten with what still counts:
so that neither the file nor a recovery grows with the hours that a registry runs."""


class JournalDamagedError(Exception):
    """A line that was completely written cannot be read: something else than a crash has changed the file."""


class Journal:
    """The file, and its size; the images are read when they are asked for."""

    def __init__(self, path: Path, compact_bytes: int = COMPACT_BYTES) -> None:
        """Open or make the file, and cut off a torn last line: it was never acknowledged.

        Raises JournalDamagedError, and leaves the file as it is, when another line cannot be read.
        """
        self._path = path
        self._compact_bytes = compact_bytes
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        complete = path.read_bytes().rpartition(b"\n")
        for _ in self.images():
            pass
        self._size = len(complete[0]) + len(complete[1])
        os.ftruncate(self._file, self._size)
        self._limit = max(compact_bytes, 2 * self._size)

    def append(self, images: Iterable[Image]) -> None:
        """Add a line with one system call: a process killed after it loses nothing, since the kernel has it.

        Raises OSError when the disk is full; the file then ends with its last whole line.
        """
        line = json.dumps(list(images), separators=(",", ":")).encode() + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            os.ftruncate(self._file, self._size)
            raise OSError(f"{self._path}: {written} of {len(line)} bytes written, the disk is full")
        self._size += written
        if self._size > self._limit:
            self.compact()

    def images(self) -> list[Image]:
        """The last image of each item and each secret, in the order in which they were first written."""
        latest: dict[str, Image] = {}
        for line in self._lines():
            for image in line:
                latest[json.dumps([image.get("table"), image.get("key"), image.get("secret")])] = image
        return list(latest.values())

    def _lines(self) -> Iterator[list[Image]]:
        with self._path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if not text.endswith(b"\n"):
                    return
                try:
                    yield json.loads(text)
                except ValueError as error:
                    raise JournalDamagedError(f"{self._path} is damaged at line {number} ({error})") from error

    def compact(self) -> None:
        """Rewrite the file with the images that count; a crash leaves the old file or the new one."""
        replacement = self._path.with_suffix(".new")
        with replacement.open("wb") as file:
            for image in self.images():
                file.write(json.dumps([image], separators=(",", ":")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self._size = file.tell()
        replacement.replace(self._path)
        os.close(self._file)
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND)
        self._limit = max(self._compact_bytes, 2 * self._size)

    def clear(self) -> None:
        """Forget everything: what the images describe is saved elsewhere."""
        os.ftruncate(self._file, 0)
        self._size = 0
