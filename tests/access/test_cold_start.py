"""What a cold start must not import: a pull waits for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
_LOGINS = ("authlib", "joserfc", "cryptography")
_LIST = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


@pytest.mark.parametrize("imports", ["import app", "import app, chalicelib.api.dispatch, chalicelib.access.console"])
def test_nothing_but_a_login_at_a_provider_imports_what_that_takes(imports: str) -> None:
    command = [sys.executable, "-c", f"{imports}; {_LIST}"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = json.loads(listed.stdout)
    assert "jwt" in loaded
    assert not set(_LOGINS) & set(loaded)


def test_what_a_login_takes_is_there_after_that() -> None:
    command = [sys.executable, "-c", f"import app, chalicelib.access.oidc; {_LIST}"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert set(_LOGINS) <= set(json.loads(listed.stdout))
