"""docs/settings.md: every setting, with its default.

    python -m tests.infra.settings_page        (part of `make docs`)

writes it anew: which settings there are and their defaults say infra/parameters.py and infra/local/options.py. What the
page remarks of a setting stays.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from infra.local.options import FUNCTION_SETTINGS, from_environment
from infra.parameters import PARAMETERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"

RELAY_ONLY = {"BERTH_REGISTRY_URL"}
"""Set by infra/relay.py where the relay runs under a name of its own; on a laptop it is the gateway's."""

_TITLE = "| variable | default | what it sets |\n| --- | --- | --- |\n"
_TABLE = re.compile(r"\| variable \|.*\n\| --- .*\n((?:\|.*\n)*)")
_ROW = re.compile(r"^\| `(BERTH_[A-Z_]+)` \| ([^|\n]*) \| (.*) \|$", re.MULTILINE)


def of_a_laptop() -> dict[str, str]:
    """The settings of `make run` alone, and their defaults as the page shows them."""
    empty = from_environment({})
    known = {
        "BERTH_PORT": f"`{empty.port}`",
        "BERTH_STATE": f"`{empty.state.name}`",
        "BERTH_HOST": f"`{empty.host}`",
        "BERTH_ADMIN_PASSWORD": "generated",
    }
    read = set(re.findall(r"BERTH_[A-Z_]+", inspect.getsource(from_environment)))
    assert read == known.keys(), "say here what the default of a new setting is"
    return known


def defaults() -> dict[str, str]:
    """Every setting, and its default as the page shows it."""
    stack = {name: str(PARAMETERS[parameter]["Default"]) for name, parameter in FUNCTION_SETTINGS.items()}
    shown = {name: f"`{default}`" if default else "empty" for name, default in stack.items()}
    return {**of_a_laptop(), **dict.fromkeys(sorted(RELAY_ONLY), "empty"), **shown}


def remarks(text: str) -> dict[str, str]:
    """What the page says of each setting, in the page's order."""
    return {name: remark.strip() for name, _, remark in _ROW.findall(text)}


def written(text: str) -> str:
    """`text` with its table as it should be: known settings where they stand, new ones at the end."""
    said, values = remarks(text), defaults()
    names = [name for name in said if name in values] + [name for name in values if name not in said]
    body = _TITLE + "".join(f"| `{name}` | {values[name]} | {said.get(name, '')} |\n" for name in names)
    return _TABLE.sub(lambda _: body, text, count=1)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
