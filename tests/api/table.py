"""docs/api.md: the table of operations, all of Harbor's, built or not.

    python -m tests.api.table        (part of `make docs`)

writes it anew: which operations there are says Harbor's swagger, which are built says Berth. What the table remarks of
an operation stays, in whichever row it stands, so that who builds one adds a row with a remark anywhere in the table
and runs the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import tests.conftest  # noqa: F401 -- sets the environment that chalicelib reads  # isort: skip
from chalicelib.api import dispatch, operations
from tests.api.contract import SWAGGER, described

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"

_TITLE = "| operation | built | |\n| --- | --- | --- |\n"
_TABLE = re.compile(r"\| operation \|.*\n\| --- .*\n((?:\|.*\n)*)")
_ROW = re.compile(r"\| `([A-Z]+ /\S*)` \|(?:([^|\n]*)\|)?([^|\n]*)\|")
_SUMMARY = re.compile(r"^[0-9]+ of [0-9]+ operations are built\.$", re.MULTILINE)

_BUILT = "yes"
_NEVER = {"LDAP": "not planned: directories log in by OIDC"}
"""Of what is not built, that which will not be."""


@dataclass(frozen=True)
class Row:
    """An operation as the table shows it."""

    operation: str
    built: str
    remark: str

    def __str__(self) -> str:
        remark = f" {self.remark} " if self.remark else " "
        return f"| `{self.operation}` | {self.built} |{remark}|"


def rows(text: str) -> list[Row]:
    """The table that stands in `text`."""
    return [Row(operation, built.strip(), remark.strip()) for operation, built, remark in _ROW.findall(_body(text))]


def built() -> list[str]:
    """The operations that are built, as the table names them, in the order of their modules."""
    assert dispatch.handle  # whose import has registered them
    return [f"{each.method} {each.path}" for each in operations.registered() if not each.is_own]


def unbuilt() -> dict[str, str]:
    """The operations of which nothing is built, and when they are."""
    assert dispatch.handle  # see above
    return {
        f"{each.method} {each.path}": _NEVER.get(each.missing, f"later, with {each.missing}")
        for each in operations.unbuilt()
    }


def own() -> list[str]:
    """The operations that Harbor does not have."""
    assert dispatch.handle  # see above
    return [f"{each.method} {each.path}" for each in operations.registered() if each.is_own]


def written(text: str) -> str:
    """`text` with its table as it should be. Needs Harbor's swagger."""
    present = built()
    when = unbuilt()
    remarks = {row.operation: row.remark for row in rows(text)}
    table = [Row(name, when.get(name, _BUILT), remarks.get(name, "")) for name in _all(present)]
    body = _TITLE + "".join(f"{row}\n" for row in table)
    counted = f"{len(present)} of {len(table)} operations are built."
    return _SUMMARY.sub(counted, _TABLE.sub(lambda _: body, text, count=1), count=1)


def _all(present: Iterable[str]) -> list[str]:
    """Every operation by its tag, the built ones of a tag first."""
    known = {f"{method} {path}": tag for method, path, tag in described()}
    order = list(dict.fromkeys(known.values()))
    missing = set(present) - set(known)
    assert not missing, f"Harbor has no {missing}"
    return sorted(known, key=lambda name: (order.index(known[name]), name not in present))


def _body(text: str) -> str:
    match = _TABLE.search(text)
    assert match, f"{PAGE} has lost its table of operations"
    return match[1]


if __name__ == "__main__":
    if not SWAGGER.exists():
        raise SystemExit(f"{SWAGGER} is not there: the table needs Harbor's swagger")
    PAGE.write_text(written(PAGE.read_text()))
