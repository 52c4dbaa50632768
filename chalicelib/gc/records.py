"""What a run of the collector is told, how long it waits, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

_LONGEST_WINDOW = 24 * 3600 * 1000
"""Of a window that a run waits for, in milliseconds: meanwhile no other can start."""


@dataclass(frozen=True)
class Times:
    """Both in milliseconds; docs/gc.md, "Times", says what they must exceed."""

    window: int
    """How long a blob or a manifest must have been a candidate, and an edge without manifest be there."""
    grace: int
    """How long a blob stays condemned before it goes."""

    @property
    def is_window_waited_for(self) -> bool:
        """Whether a run goes on when what it has let go of is due. If not, the next run does: only one is under way."""
        return self.window <= _LONGEST_WINDOW


@dataclass(frozen=True)
class Task:
    """A piece of work: its kind, and the page, segment or shard that it is about."""

    kind: str
    name: str


@dataclass(frozen=True)
class Due:
    """That a kind of work is to be looked for from a time on (milliseconds since 1970)."""

    kind: str
    at: int


@dataclass(frozen=True)
class Parameters:
    """Of one run; the names are Harbor's (src/controller/gc)."""

    dry_run: bool = False
    delete_untagged: bool = False
    workers: int = 1
    time_window: float | None = None
    """Hours; None is the setting's."""
    reconcile: bool | None = None
    """Whether to look through all tables and objects; None: when the last time is long ago."""


@dataclass(frozen=True)
class Tally:
    """What came of a piece of work. Sizes are bytes."""

    purged_blobs: int = 0
    purged_manifests: int = 0
    freed_space: int = 0
    condemned: int = 0
    """Blobs that go after the grace unless somebody touches them."""
    condemned_space: int = 0
    condemned_last: int = 0
    """When the last of them was condemned, in milliseconds since 1970."""
    released_manifests: int = 0
    """Children and referrers of what was deleted: they may be garbage after the window."""
    cleared: int = 0
    """Candidates that were in use after all."""
    purged_uploads: int = 0
    purged_edges: int = 0
    purged_links: int = 0
    purged_objects: int = 0

    def __add__(self, other: Tally) -> Tally:
        total = Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Tally)))
        return replace(total, condemned_last=max(self.condemned_last, other.condemned_last))

    def to_json(self) -> dict[str, int]:
        """Without what is 0."""
        return {name: count for name, count in asdict(self).items() if count}

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Tally:
        return cls(**content)


Watch = Callable[[float, Tally], bool]
"""What a task calls between two pieces of its work, with the part of it that is done and what came of that so far.

False: the run was told to end.
"""


def unwatched(_part: float, _tally: Tally) -> bool:
    """The watch of who lets a task come to its end."""
    return True
