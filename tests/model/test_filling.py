"""Every interleaving of a filler that charges with pushes and deletes: in the end what is there is charged."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from .checker import Violation
from .filling import Cast, Rules, ahead, explore
from .processes import Process

PAGE = Path(__file__).parents[2] / "docs" / "gc.md"
WORLDS = [ahead(), ahead("m1"), ahead("m1", "m2")]
ALL_ON = Rules()


def casts(rules: Rules = ALL_ON) -> dict[str, list[Process]]:
    cast = Cast(rules)
    pushes = {"": cast.push("push", "m2"), ", the charge seen first": cast.push("push", "m2", charge_first=True)}
    return {
        **{
            f"a filler, a push and a delete{how}": [cast.fill(), push, cast.delete("delete", "m1")]
            for how, push in pushes.items()
        },
        "a filler, a push of what is deleted": [cast.fill(), cast.push("again", "m1"), cast.delete("delete", "m1")],
        "two fillers and a delete": [cast.fill(), cast.fill("sleeper"), cast.delete("delete", "m1")],
    }


@pytest.mark.parametrize("crashes", [True, False], ids=["crashes", "no-crash"])
@pytest.mark.parametrize("who", casts())
def test_what_a_filler_brings_is_charged(who: str, crashes: bool, capsys: pytest.CaptureFixture[str]) -> None:
    explored = explore(casts()[who], WORLDS, crashes=crashes)
    with capsys.disabled():
        print(f"\n{who}: {explored}", end=" ")


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_without_a_rule_there_is_damage(rule: str) -> None:
    found = set()
    for processes in casts(Rules(**{rule: False})).values():
        try:
            explore(processes, WORLDS, crashes=False)
        except Violation as violation:
            found.add(violation.problem)
    expected = "no manifest names stays" if rule == "freed_after_fill" else "a manifest's blob is not charged"
    assert any(expected in problem for problem in found)


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_the_page_names_the_rule(rule: str) -> None:
    assert f"`{rule}`" in PAGE.read_text()
