"""The saved states of the local cloud: one folder each, and never a mixture of two.

MiniStack saves one file a service, one after the other, when it stops. Killed in between, it would leave a stack that
names tables which are not saved yet. So every run works on a copy of the last complete state, which becomes the last
complete one when all of it has been saved; until then the one before stands, and the journal beside it.

    <folder>/<number>/            a state; the highest number with a `complete` in it counts
"""

from __future__ import annotations

import shutil
from pathlib import Path

_MARK = "complete"
_NEEDED = ("cloudformation.json", "dynamodb.json", "secretsmanager.json")
"""What a state of Berth cannot be without, and what the journal stands in for until it is saved."""


class SnapshotDamagedError(Exception):
    """A file of a complete state is missing."""


class Snapshots:
    """The folder, with the state that this run works on."""

    def __init__(self, folder: Path) -> None:
        """Make a copy of the last complete state, or an empty one. Raises SnapshotDamagedError."""
        self._folder = folder
        folder.mkdir(exist_ok=True)
        complete = sorted(int(mark.parent.name) for mark in folder.glob(f"*/{_MARK}"))
        number = complete[-1] if complete else 0
        self._drop_but(number)
        self.current = folder / f"{number + 1}"
        if number:
            last = folder / f"{number}"
            missing = [name for name in _NEEDED if not (last / name).exists()]
            if missing:
                raise SnapshotDamagedError(f"{last / missing[0]} is missing")
            shutil.copytree(last, self.current, ignore=shutil.ignore_patterns(_MARK))
        else:
            self.current.mkdir()

    def versions(self) -> dict[str, tuple[int, int]]:
        """Which versions of the needed files the current state has. MiniStack replaces a file when it saves it."""
        states = {name: (self.current / name).stat() for name in _NEEDED if (self.current / name).exists()}
        return {name: (state.st_ino, state.st_mtime_ns) for name, state in states.items()}

    def keep(self, before: dict[str, tuple[int, int]]) -> bool:
        """Let the current state count, and drop the last one. False when not all of it is newer than `before`."""
        after = self.versions()
        if any(after.get(name) in (None, before.get(name)) for name in _NEEDED):
            return False
        (self.current / _MARK).touch()
        self._drop_but(int(self.current.name))
        return True

    def _drop_but(self, number: int) -> None:
        for path in self._folder.iterdir():
            if path.name != f"{number}":
                shutil.rmtree(path)
