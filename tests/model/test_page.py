"""docs/gc.md says what each rule is for; it must not forget one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from .rules import Rules

PAGE = Path(__file__).parents[2] / "docs" / "gc.md"


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_the_page_names_the_rule(rule: str) -> None:
    assert f"`{rule}`" in PAGE.read_text()
