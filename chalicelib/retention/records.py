"""What a retention policy is, and what its rules are asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.registry.pulls import SETTLED_MS, UNCERTAIN_MS


@dataclass(frozen=True)
class Policy:
    """The one policy of a project. `rules` are the swagger's RetentionRules as retention/rules.py checked them.

    `cron` is empty for a policy that only people start. `version` is fresh with every write of the record.
    """

    number: int
    project_id: int
    rules: Sequence[Mapping[str, Any]]
    cron: str
    version: str


@dataclass(frozen=True)
class Candidate:
    """An artifact of a repository as it was looked at. Times are milliseconds since 1970.

    `generation` is the commit that was looked at: with the tags it tells whether the artifact is still the same.
    """

    digest: str
    generation: str
    kind: str
    tags: tuple[str, ...]
    labels: tuple[str, ...]
    created: int
    pushed: int
    """The last push of the artifact or of one of its tags."""
    pulled: int
    """The last pull of it or of a dependent, for a node pulls its platform's image; 0 when there was none."""
    dependents: tuple[tuple[str, int], ...]
    """What follows it: the children of an index that have no tag, and theirs, each with the time of its first push."""

    @property
    def used(self) -> int:
        """When it was pulled last, or pushed, if it never was: what nobody could pull yet is not unused.

        Harbor takes such an artifact for the least used (its issues 10295 and 18479 are of images that were deleted
        before their first pull).
        """
        return self.pulled or self.pushed

    def last_possible_pull(self, now: int) -> int:
        """When it may have been pulled last: a later pull than `pulled` may be known to one process only, for a time.

        0 for one that was never pulled: its first pull is written at once.
        """
        if not self.pulled or now - self.pulled > SETTLED_MS:
            return self.pulled
        return min(now, self.pulled + UNCERTAIN_MS)
