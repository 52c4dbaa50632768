"""The rows of the benchmark: what was measured, what was to be reached, and how both are shown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_TITLES = ("row", "Berth", "peer", "ratio", "target", "verdict")


@dataclass(frozen=True)
class Row:
    """One measurement, as medians. Its ratio is Berth's value by the peer's; without a peer, the value is judged."""

    name: str
    unit: str
    berth: float
    peer: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    berth_more: str = ""
    """What belongs beside the value, such as percentiles."""
    peer_more: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.peer is None else self.berth / self.peer

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None for a row that has none."""
        judged = self.berth if self.ratio is None else self.ratio
        if self.at_least is not None:
            return judged >= self.at_least
        return None if self.at_most is None else judged <= self.at_most

    @property
    def cells(self) -> tuple[str, ...]:
        peer = "" if self.peer is None else _value(self.peer, self.unit, self.peer_more)
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        limit, sign = (self.at_most, "<=") if self.at_least is None else (self.at_least, ">=")
        target = "" if limit is None else f"{sign} {limit:g}{'' if self.ratio is not None else f' {self.unit}'}"
        verdict = {True: "met", False: "MISSED", None: ""}[self.is_met]
        return (self.name, _value(self.berth, self.unit, self.berth_more), peer, ratio, target, verdict)

    def facts(self) -> dict[str, Any]:
        return {**vars(self), "ratio": self.ratio, "met": self.is_met}


def pair(name: str, unit: str, berth: Sequence[float], peer: Sequence[float], **targets: float) -> Row:
    """A row of the medians of repeated measurements."""
    return Row(name, unit, statistics.median(berth), statistics.median(peer), **targets)  # type: ignore[arg-type]


def text(rows: Iterable[Row]) -> str:
    cells = [_TITLES, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_TITLES))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _value(value: float, unit: str, more: str) -> str:
    figure = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return " ".join(filter(None, (figure, unit, more)))
