"""Cron expressions as Harbor writes them, six fields with the seconds first, and as EventBridge Scheduler does.

Harbor's are those of robfig/cron: `,-*/?` and names. Days of the month beside days of the week mean either of them, or
both of them if one of the two fields begins with a star. EventBridge knows minutes but no seconds, counts the days of
the week from 1 on Sunday, wants `?` for one of the two days, and so has neither the one nor the other (EventBridge
Scheduler user guide, "Schedule types"). What it cannot say is refused. All times are UTC, as Harbor's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from chalicelib.jobs.errors import ScheduleInvalidError

_LENGTH = 256
_GRAMMAR = re.compile(r"[0-9A-Za-z*?,/-]+(?: +[0-9A-Za-z*?,/-]+){5}\Z")
_MINUTES, _HOURS, _DAYS, _MONTHS = range(60), range(24), range(1, 32), range(1, 13)


@dataclass(frozen=True)
class Cron:
    """A cron expression that EventBridge can express too."""

    text: str
    """As it was given, in Harbor's form."""
    expression: str
    """EventBridge's `cron(…)`."""

    def next(self, after: int) -> int:
        """The first time behind `after`, in milliseconds since 1970."""
        return _milliseconds(next(CronSim(_stars(self.text), _datetime(after))))

    def last(self, at: int) -> int:
        """The last time that is not behind `at`, in milliseconds since 1970."""
        return _milliseconds(next(CronSim(_stars(self.text), _datetime(at + 1000), reverse=True)))


def parse(text: str) -> Cron:
    """Raises ScheduleInvalidError, with the reason, for what is no cron expression or none that EventBridge can do."""
    text = text.strip()
    if len(text) > _LENGTH or not _GRAMMAR.match(text):
        raise ScheduleInvalidError(f"{text[:64]!r} is no cron expression: it has six fields, the seconds first")
    try:
        fields = CronSim(_stars(text), datetime.now(UTC))
        next(fields)
    except (CronSimError, StopIteration) as error:
        reason = str(error) or "there is no such day"
        raise ScheduleInvalidError(f"{text[:64]!r} is no cron expression: {reason}") from error
    return Cron(text, _expression(text, CronSim(_stars(text), datetime.now(UTC))))


def _expression(text: str, fields: CronSim) -> str:
    if fields.seconds != {0}:
        raise ScheduleInvalidError(f"{text!r}: the first field, the seconds, must be 0")
    weekdays = set()
    for day in fields.weekdays:
        if not isinstance(day, int):
            raise ScheduleInvalidError(f"{text!r}: the days of the week are numbers or names")
        weekdays.add(day % 7)
    if min(fields.days) < 0:
        raise ScheduleInvalidError(f"{text!r}: the days of the month are numbers")
    days, of_week = _field(fields.days, _DAYS), _field((day + 1 for day in weekdays), range(1, 8))
    if "*" not in (days, of_week):
        raise ScheduleInvalidError(f"{text!r}: give days of the month or days of the week, not both")
    if not fields.day_and:
        days, of_week = "*", "?"  # either of the two, and one is every day
    elif of_week == "*":
        of_week = "?"
    else:
        days = "?"
    minutes, hours = _field(fields.minutes, _MINUTES), _field(fields.hours, _HOURS)
    return f"cron({minutes} {hours} {days} {_field(fields.months, _MONTHS)} {of_week} *)"


def _field(values: Iterable[int], whole: range) -> str:
    """Numbers as EventBridge lists them, neighbours as a range: 256 characters are allowed in all."""
    present = sorted(values)
    if present == list(whole):
        return "*"
    runs: list[list[int]] = []
    for value in present:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _stars(text: str) -> str:
    """With robfig's `?`, which stands for `*`, written so."""
    return text.replace("?", "*")


def _datetime(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1000, UTC)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
