"""The libraries that the Lambdas run, as Linux wheels for their runtime, built once for each requirements.txt.

Chalice resolves them: it takes wheels that run on Lambda's glibc and refuses what has none. botocore describes some
400 services in 25 MB of compressed JSON; only those that Berth calls are kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from chalice.deploy.packager import DependencyBuilder
from chalice.utils import OSUtils

ARCHITECTURE = "x86_64"
"""As .chalice/config.json says; docs/decisions/packaging.md says why."""

SERVICES = ("dynamodb", "scheduler", "xray")
"""Services that the Lambdas make botocore clients for: PynamoDB's, the one for schedules, and the one that the X-Ray
SDK makes on import.
"""

_RECIPE = "2"
"""Changes when this module makes something else of the same requirements."""


def site_packages(project: Path, runtime: str) -> Path:
    """The folder of the installed libraries, from the cache in build/ when requirements.txt is the one it was made of.

    `runtime` is Lambda's name of it, such as `python3.12`. Raises chalice's MissingDependencyError when a library has
    no wheel for it.
    """
    requirements = project / "requirements.txt"
    recipe = f"{_RECIPE} {runtime} {ARCHITECTURE} {SERVICES} ".encode() + requirements.read_bytes()
    target = project / "build" / "dependencies" / hashlib.sha256(recipe).hexdigest()[:16]
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several at once, as in tests, one installs and the others wait
        if not target.is_dir():
            _make(target, requirements, runtime)
    return target


def _make(target: Path, requirements: Path, runtime: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / "site-packages"
        made.mkdir()
        _install(requirements, runtime, made)
        _prune(made)
        compile_modules(made)
        made.rename(target)


def _install(requirements: Path, runtime: str, target: Path) -> None:
    abi = "cp" + runtime.removeprefix("python").replace(".", "")
    DependencyBuilder(OSUtils(), architecture=ARCHITECTURE).build_site_packages(abi, str(requirements), str(target))


def _prune(target: Path) -> None:
    """Drop the descriptions of services that are never called; botocore's own files beside them stay."""
    for folder in sorted((target / "botocore" / "data").iterdir()):
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)


def compile_modules(folder: Path) -> None:
    """Write each module's bytecode beside it: Lambda's file system is read-only, so a cold start would compile all
    of them anew, which takes three times as long as importing them (docs/decisions/packaging.md).

    Marked as not to be checked against the source, since a zip keeps no times; and the same on every machine.
    """
    unchecked = ["--invalidation-mode", "unchecked-hash"]
    command = [sys.executable, "-m", "compileall", "-q", *unchecked, "-s", str(folder), "-p", "/var/task", str(folder)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})
