"""The OCI distribution-spec's own conformance program, against a running Berth.

python -m tests.conformance.run        with BERTH_URL, BERTH_USER and BERTH_PASSWORD; needs Go

Every group of the program is on. It passes when each test of each group passes; a group that is skipped fails, too,
unless NOT_IN_THE_SPEC says why the spec allows it. Its report is build/conformance/report.html.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

MODULE = "github.com/opencontainers/distribution-spec/conformance"
VERSION = "v0.0.0-20260831232431-97274622c111"
PROJECT = Path(__file__).resolve().parents[2]
BUILD = PROJECT / "build"

NOT_IN_THE_SPEC = {
    "Sparse Manifests": "optional; off here as by default, since a child that is missing is refused",
}
"""Groups that may be disabled or skipped. All others must pass."""

_GROUP = re.compile(r"^\s+(?P<name>\S.*?)\.{2,}:\s+(?P<result>\S+)$")
_COUNTS = {"Pass", "FAIL", "Skip", "Disabled", "Error", "Total", "Unknown"}


def main() -> int:
    program = install()
    report = BUILD / "conformance"
    report.mkdir(parents=True, exist_ok=True)
    finished = subprocess.run([program], env=environment(report), capture_output=True, text=True, check=False)
    print(finished.stdout + finished.stderr)
    groups = {match["name"]: match["result"] for match in map(_GROUP.match, finished.stdout.splitlines()) if match}
    results = {name: result for name, result in groups.items() if name not in _COUNTS}
    wrong = {name: result for name, result in results.items() if result != "Pass" and name not in NOT_IN_THE_SPEC}
    passed = sum(result == "Pass" for result in results.values())
    for name, result in wrong.items():
        print(f"not passed: {name}: {result}")
    print(f"conformance: {passed} passed, {len(wrong)} failed")
    return 1 if finished.returncode or wrong or not passed else 0


def install() -> str:
    """The program's path, built with `go install` the first time."""
    folder = BUILD / "bin"
    program = folder / f"conformance-{VERSION}"
    if not program.exists():
        subprocess.run(["go", "install", f"{MODULE}@{VERSION}"], env={**os.environ, "GOBIN": str(folder)}, check=True)
        (folder / "conformance").rename(program)
    return str(program)


def environment(report: Path) -> dict[str, str]:
    url = urlsplit(os.environ["BERTH_URL"])
    return {
        **os.environ,
        "OCI_REGISTRY": url.netloc,
        "OCI_TLS": "enabled" if url.scheme == "https" else "disabled",
        "OCI_USERNAME": os.environ["BERTH_USER"],
        "OCI_PASSWORD": os.environ["BERTH_PASSWORD"],
        "OCI_REPO1": "library/conformance",
        "OCI_REPO2": "library/crossmount",
        "OCI_VERSION": "1.1",
        "OCI_RESULTS_DIR": str(report),
        "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
        "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
        "OCI_API_MANIFESTS_TAG_PARAM": "true",
    }


if __name__ == "__main__":
    sys.exit(main())
