"""Every interleaving of who charges and who frees: what is named is charged, and what is not named is freed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from .charges import LEFT_OVER, Cast, Rules, committed, explore
from .checker import Violation
from .processes import Process

PAGE = Path(__file__).parents[2] / "docs" / "gc.md"

TOO_FEW, TOO_MANY = "a manifest's blob is not charged", "a blob that no manifest names stays charged"

WORLDS = {
    True: [committed(), committed("m1"), committed("m1", "m2"), LEFT_OVER],
    False: [committed(), committed("m1"), committed("m1", "m2")],
}
"""With and without crashes."""

ALL_ON = Rules()


def casts(rules: Rules = ALL_ON) -> dict[str, list[Process]]:
    cast = Cast(rules)
    return {
        "two pushes that share a blob, and a delete": [
            cast.push("push", "m2"), cast.push("again", "m1"), cast.delete("delete", "m1"),
        ],
        "a push and two deletes": [cast.push("push", "m1"), cast.delete("delete", "m1"), cast.delete("other", "m2")],
        "a push that is refused": [cast.refused_push("refused", "m2"), cast.push("push", "m1")],
        "a push beside one that is refused and the recount": [
            cast.refused_push("refused", "m2"), cast.push("push", "m1"), cast.recount(),
        ],
        "a push, a delete and the recount": [cast.push("push", "m2"), cast.delete("delete", "m1"), cast.recount()],
        "two recounts and a delete": [cast.recount(), cast.recount("second"), cast.delete("delete", "m1")],
    }  # fmt: skip


@pytest.mark.parametrize("crashes", [True, False], ids=["crashes", "no-crash"])
@pytest.mark.parametrize("who", casts())
def test_nothing_is_charged_too_little_and_in_the_end_nothing_too_much(
    who: str, crashes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    explored = explore(casts()[who], WORLDS[crashes], crashes=crashes)
    with capsys.disabled():
        print(f"\n{who}: {explored}", end=" ")


def damage(rules: Rules) -> set[str]:
    """What the model finds in any of the casts."""
    found = set()
    for processes in casts(rules).values():
        for crashes in (True, False):
            try:
                explore(processes, WORLDS[crashes], crashes=crashes)
            except Violation as violation:
                found.add(violation.problem)
    return found


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_without_a_rule_there_is_damage(rule: str) -> None:
    expected = TOO_MANY if rule == "free_after_edges" else TOO_FEW
    assert expected in damage(Rules(**{rule: False}))


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_the_page_names_the_rule(rule: str) -> None:
    assert f"`{rule}`" in PAGE.read_text()
