"""docs/api.md says what is built, no more and no less."""

from __future__ import annotations

import re

import pytest

from tests.api import table
from tests.api.contract import SWAGGER

TEXT = table.PAGE.read_text()

_ADVICE = "run `make docs`, which writes docs/api.md, and say in the new row what the operation is"


def test_the_page_says_what_is_built() -> None:
    rows = table.rows(TEXT)
    assert {row.operation for row in rows if row.built == "yes"} == set(table.built()), _ADVICE


def test_every_operation_that_is_built_is_explained() -> None:
    silent = [row.operation for row in table.rows(TEXT) if row.built == "yes" and not row.remark]
    assert not silent, f"say in docs/api.md what these are: {silent}"


def test_the_page_says_what_berth_has_of_its_own() -> None:
    """Below the table of Harbor's operations; each in a list's item that begins with it."""
    assert re.findall(r"^- `((?:GET|POST|PUT|DELETE) /\S*)`", TEXT, re.MULTILINE) == table.own()


@pytest.mark.skipif(not SWAGGER.exists(), reason="Harbor's swagger is not here")
def test_the_page_lists_every_operation_that_harbor_has() -> None:
    assert table.written(TEXT) == TEXT, _ADVICE
