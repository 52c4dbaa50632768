"""Cron expressions, held to the library: what EventBridge is told means the same."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chalicelib.jobs import cron
from chalicelib.jobs.errors import ScheduleInvalidError

FIRST, LAST = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (2024, 2032))
MOMENT = datetime(2026, 11, 25, 0, 20, 30, tzinfo=UTC)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda ends: "{}-{}".format(*sorted(ends)))
    step = st.tuples(st.one_of(st.just("*"), number, span), st.integers(1, high)).map("{0[0]}/{0[1]}".format)
    part = st.one_of(number, span, step)
    return st.one_of(st.just("*"), st.just("?"), part, st.lists(part, min_size=2, max_size=4).map(",".join))


expressions = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)).map(
    lambda fields: " ".join(("0", *fields))
)


def fires(expression: str, moment: datetime) -> bool:
    """Whether EventBridge fires in a minute, read from its own form by a reader of its own."""
    matched = re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) \*\)", expression)
    assert matched is not None
    minutes, hours, days, months, weekdays = matched.groups()
    assert (days == "?") != (weekdays == "?"), "exactly one of the two must be ?"
    of_week = moment.isoweekday() % 7 + 1
    pairs = (
        (minutes, moment.minute),
        (hours, moment.hour),
        (months, moment.month),
        (days, moment.day),
        (weekdays, of_week),
    )
    return all(text in ("*", "?") or value in listed(text) for text, value in pairs)


def listed(text: str) -> set[int]:
    ends = [part.split("-") for part in text.split(",")]
    return {value for part in ends for value in range(int(part[0]), int(part[-1]) + 1)}


@settings(max_examples=150, deadline=None)
@given(expressions, st.datetimes(FIRST, LAST))
def test_eventbridge_fires_when_the_expression_says(text: str, start: datetime) -> None:
    try:
        parsed = cron.parse(text)
    except ScheduleInvalidError:
        assume(False)
        raise
    assert len(parsed.expression) <= 256, "EventBridge's limit"
    start = start.replace(tzinfo=UTC)
    times = CronSim(text.replace("?", "*"), start)
    upcoming = [next(times) for _ in range(5)]
    assert all(fires(parsed.expression, moment) for moment in upcoming)
    for minutes in range(1, 150):
        moment = start.replace(second=0, microsecond=0) + timedelta(minutes=minutes)
        assert fires(parsed.expression, moment) == (
            next(CronSim(text.replace("?", "*"), moment - timedelta(seconds=1))) == moment
        )


@settings(max_examples=300, deadline=None)
@given(expressions)
def test_only_what_names_both_days_or_no_day_is_refused(text: str) -> None:
    fields = text.split()
    try:
        assert cron.parse(text).text == text
    except ScheduleInvalidError as error:
        if "not both" in str(error):
            assert fields[3] not in "*?"
            assert fields[5] not in "*?"
        else:
            with pytest.raises((CronSimError, StopIteration)):
                next(CronSim(text.replace("?", "*"), MOMENT))


@given(expressions, st.datetimes(FIRST, LAST))
def test_the_last_time_is_the_one_before_the_next(text: str, at: datetime) -> None:
    try:
        parsed = cron.parse(text)
    except ScheduleInvalidError:
        assume(False)
        raise
    now = int(at.replace(tzinfo=UTC).timestamp()) * 1000
    last, following = parsed.last(now), parsed.next(now)
    assert last <= now < following
    assert parsed.next(last) == following
    assert parsed.last(last) == last


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("0 0 * * * *", "cron(0 * * * ? *)"),
        ("0 0 0 * * *", "cron(0 0 * * ? *)"),
        ("0 0 0 * * 0", "cron(0 0 ? * 1 *)"),
        ("0 30 2 ? * MON-FRI", "cron(30 2 ? * 2-6 *)"),
        ("0 0 0 1,15 * ?", "cron(0 0 1,15 * ? *)"),
        ("0 */20 8-18/2 * JAN,JUL *", "cron(0,20,40 8,10,12,14,16,18 * 1,7 ? *)"),
    ],
)
def test_harbors_own_schedules(text: str, expression: str) -> None:
    assert cron.parse(text).expression == expression


@pytest.mark.parametrize(
    "text",
    [
        "", "0 0 * * *", "@daily", "0 0 0 * * * *", "30 0 0 * * *", "* 0 0 * * *", "0 60 0 * * *", "0 0 24 * * *",
        "0 0 0 32 * *", "0 0 0 30 2 *", "0 0 0 * 13 *", "0 0 0 1 * 1", "0 0 0 L * *", "0 0 0 LW * *", "0 0 0 * * 1#2",
        "0 0 0 * * 5L", "0 0 0 5-1 * *", "0 */0 0 * * *", "0 0 0 * * *; drop", "0 " * 200, "0\t0 0 * * *",
        "0 0 0 ٣ * *", "0 0 0 */2 * 1",
    ],
)  # fmt: skip
def test_what_is_none_or_cannot_be_done_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ScheduleInvalidError) as refused:
        cron.parse(text)
    assert len(str(refused.value)) > 20
