"""The request Lambda's start beside that of a bare Chalice and boto3 app: the import, and the first request.

Each is measured in fresh processes, as Lambda does it: the app is imported, then an HTTP API's event comes. Berth is
the unpacked package; both have their libraries compiled beforehand, as a package does and pip.
Berth's first request is an anonymous pull of a manifest, with two reads of DynamoDB; the bare app's is one read. Its
import registers the extension that writes pull counts after the response (chalicelib/background.py).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.bench.scale import Scale
from tests.bench.servers import Berth
from tests.bench.table import Row
from tests.extensions_api import ExtensionsApi

_DRIVER = Path(__file__).with_name("lambda_driver.py")
_BARE = Path(__file__).with_name("bare")
_LIMIT = 1.5


def rows(berth: Berth, package: Path, manifest_path: str, scale: Scale) -> Iterator[Row]:
    """`package` is the unpacked zip, `manifest_path` that of a manifest that anyone may pull, behind `/v2/`."""
    variables = {
        **berth.environment,
        "AWS_LAMBDA_FUNCTION_NAME": "berth-request",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3",
        "_HANDLER": "app.app",
        "AWS_LAMBDA_RUNTIME_API": ExtensionsApi().address,
        "BENCH_TABLE": berth.environment["BERTH_REPOSITORIES_TABLE"],
    }
    starts: dict[str, list[dict[str, float]]] = {"berth": [], "bare": []}
    for repetition in range(-1, scale.lambda_starts):
        ours = _start(package, "/v2/{proxy+}", manifest_path, variables)
        bare = _start(_BARE, "/{proxy+}", "first", variables)
        if repetition >= 0:  # the first run compiles and fills the file cache
            starts["berth"].append(ours)
            starts["bare"].append(bare)
    for part, name in (
        ("import", "request Lambda, import"),
        ("first", "request Lambda, first request"),
        ("both", "request Lambda, both"),
    ):
        values = {which: statistics.median(start[part] for start in all_) for which, all_ in starts.items()}
        yield Row(name, "ms", values["berth"], values["bare"], at_most=_LIMIT)


def _start(folder: Path, resource: str, proxy: str, variables: Mapping[str, str]) -> dict[str, float]:
    command = [sys.executable, str(_DRIVER), str(folder), resource, proxy]
    done = subprocess.run(command, env=dict(variables), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: the app in {folder} failed: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**figures, "both": figures["import"] + figures["first"]}
