"""The README's table of operations says what is built, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

from chalicelib.api import dispatch
from chalicelib.api.operations import registered

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_the_readme_lists_every_operation() -> None:
    listed = set(re.findall(r"^\| `([A-Z]+ /\S+)` \|", README, re.MULTILINE))
    assert dispatch.handle
    assert listed == {f"{operation.method} {operation.path}" for operation in registered()}
