"""The state folder of `make run`: who owns it, the administrator's password, and what scripts are told of the run.

lock, admin-password, run.json       this module
*.log                                what the processes said (infra/local/processes.py)
journal.jsonl, ministack/, s3/       the local cloud's (infra/local/cloud.py)
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra.local.options import StartError


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Make the folder, for its user's eyes only, and keep every other instance out. Raises StartError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise StartError(f"{folder} cannot be used ({error.strerror}): choose another with BERTH_STATE") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(f"{folder} is in use by another Berth: choose another with BERTH_STATE") from None
        facts = folder / "run.json"
        facts.unlink(missing_ok=True)
        try:
            yield
        finally:
            facts.unlink(missing_ok=True)


def admin_password(folder: Path, given: str | None) -> str:
    """The password given, or the one kept from an earlier run, or a new one; kept for the next run."""
    file = folder / "admin-password"
    kept = file.read_text().rstrip("\n") if file.exists() else ""
    password = given or kept or secrets.token_urlsafe(18)
    if password != kept:
        replacement = file.with_suffix(".new")
        replacement.unlink(missing_ok=True)
        with os.fdopen(os.open(replacement, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(f"{password}\n")
        replacement.replace(file)
    return password


def tell(folder: Path, facts: Mapping[str, object]) -> None:
    """Write run.json, which tells scripts what runs where; it is there while Berth runs."""
    (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n")
