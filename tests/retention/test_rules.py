"""Rules by the times of pulls: what a process may know alone is not decided against."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from chalicelib.registry.pulls import SETTLED_MS, UNCERTAIN_MS
from chalicelib.retention import rules
from chalicelib.retention.records import Candidate
from tests.jobs.support import rule

NOW = 1_800_000_000_000
MINUTE = 60_000


def retained(template: str, number: int, *pulls: int) -> set[str]:
    """Which of artifacts with these ages of their last pulls, in milliseconds, a rule retains, by their numbers."""
    pushed = NOW - 30 * 24 * 60 * MINUTE
    first = Candidate("", "", "image", ("v",), (), pushed, pushed, 0, ())
    found = [replace(first, digest=str(place), pulled=NOW - age) for place, age in enumerate(pulls)]
    return rules.retained(rules.checked([rule(template, number=number)]), "app", found, NOW) or set()


@pytest.mark.parametrize("template", ["latestPulledN", "latestActiveK"])
def test_the_latest_are_retained_and_what_may_have_been_pulled_after_them(template: str) -> None:
    hour = 60 * MINUTE
    assert retained(template, 1, hour, 3 * hour) == {"0"}
    assert retained(template, 1, hour, hour + UNCERTAIN_MS - 1) == {"0", "1"}
    assert retained(template, 1, hour, hour + UNCERTAIN_MS) == {"0"}
    assert retained(template, 2, hour, hour + 1, hour + 2) == {"0", "1", "2"}
    assert retained(template, 0, 0, hour) == set()


def test_after_a_day_the_time_that_is_written_is_the_last() -> None:
    day = SETTLED_MS + 1
    for order in itertools.permutations((day, day + 1, day + 2)):
        [place] = retained("latestPulledN", 1, *order)
        assert order[int(place)] == day
