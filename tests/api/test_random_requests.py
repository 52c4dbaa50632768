"""Runs tests/contract in a process and on a cloud of its own: its requests delete and reconfigure what they meet."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.api.contract import SWAGGER
from tests.conftest import PROJECT

_OWN = ("BERTH_", "AWS_", "PYTEST_")
"""What the environment of this process says of its own cloud."""


def run(examples: int, seconds: int) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    environment["BERTH_CONTRACT_EXAMPLES"] = str(examples)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/contract"]
    done = subprocess.run(
        command, check=False, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, done.stdout[-20_000:]


@pytest.mark.slow
@pytest.mark.skipif(not SWAGGER.exists(), reason="Harbor's swagger is not here")
def test_random_requests_are_answered_as_the_swagger_says() -> None:
    run(examples=4, seconds=600)


@pytest.mark.soak
@pytest.mark.skipif(not SWAGGER.exists(), reason="Harbor's swagger is not here")
def test_many_random_requests_are_answered_as_the_swagger_says() -> None:
    run(examples=60, seconds=7200)
