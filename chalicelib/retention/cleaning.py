"""A policy in one repository: what its rules do not retain is deleted, if it is still what was looked at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from chalicelib.oci.errors import Immutable, ManifestUnknown, Referenced
from chalicelib.projects import immutability
from chalicelib.projects.records import Project
from chalicelib.registry import deletion
from chalicelib.retention import decisions, rules, survey
from chalicelib.retention.decisions import Plan
from chalicelib.retention.records import Candidate
from chalicelib.retention.survey import Survey
from chalicelib.storage.conditions import now

RETAINED, DELETED = "RETAIN", "DEL"

_COLUMNS = ("Digest", "Tag", "Kind", "Labels", "PushedTime", "PulledTime", "CreatedTime", "Retention")


@dataclass(frozen=True)
class Outcome:
    """What was made of the artifacts of a repository, and the log that says so."""

    total: int
    retained: int
    deleted: Sequence[Candidate]
    """Empty in a dry run."""
    log: str


def clean(project: Project, repository: str, policy: Sequence[rules.Rule], *, is_dry_run: bool) -> Outcome:
    """Evaluate the rules for one repository, and delete what they do not retain, unless it is a dry run.

    Doing it again goes on: what is deleted already is no candidate any more.
    """
    name = repository.partition("/")[2]
    seen = survey.of(repository)
    kept = rules.retained(policy, name, seen.candidates, now())
    unretained = {each.digest for each in seen.candidates if kept is not None and each.digest not in kept}
    plan = decisions.plan(seen, unretained, lambda tag: immutability.is_immutable(project, repository, tag))
    stays = dict(plan.reasons)
    if not is_dry_run:
        stays |= _carry_out(repository, seen, plan, goes_by_pulls=rules.go_by_pulls(policy, name))
    deleted = [each for each in seen.candidates if each.digest in plan.going and each.digest not in stays]
    log = _log(repository, seen.candidates, {each.digest for each in deleted}, stays, is_dry_run=is_dry_run)
    total = len(seen.candidates)
    return Outcome(total, total - len(deleted), [] if is_dry_run else deleted, log)


def _carry_out(repository: str, seen: Survey, plan: Plan, *, goes_by_pulls: bool) -> dict[str, str]:
    """Delete what is planned, if it is still what was looked at. Returns why candidates stay, by digest."""
    candidates = {each.digest: each for each in seen.candidates}
    stays: dict[str, str] = {}
    for digest in plan.going:
        candidate = candidates.get(digest)
        if candidate is None:
            _delete(repository, digest, seen.generations[digest], ())
        elif goes_by_pulls and survey.last_pull(repository, candidate) > candidate.pulled:
            stays[digest] = "it was pulled since it was looked at"
        elif reason := _delete(repository, digest, candidate.generation, candidate.tags):
            stays[digest] = reason
    return stays


def _delete(repository: str, digest: str, generation: str, tags: Collection[str]) -> str:
    """Delete a manifest as it was looked at. Returns why it stays; empty when it is gone."""
    try:
        deleted = deletion.manifest_as_seen(repository, digest, generation, tags)
    except (Referenced, Immutable) as error:
        return str(error)
    except ManifestUnknown:
        return ""
    return "" if deleted else "it was pushed or tagged since it was looked at"


def _log(
    repository: str, found: Sequence[Candidate], deleted: Collection[str], stays: Mapping[str, str], *, is_dry_run: bool
) -> str:
    """Harbor's log of a retention task (src/pkg/retention/job.go)."""
    rows = [
        (
            each.digest, ",".join(each.tags), each.kind, ",".join(each.labels), _time(each.pushed),
            _time(each.pulled) if each.pulled else "", _time(each.created),
            DELETED if each.digest in deleted else RETAINED,
        )
        for each in found
    ]  # fmt: skip
    lines = [
        "Run retention process.",
        f" Repository: {repository}",
        " Rule Algorithm: or",
        f" Dry Run: {str(is_dry_run).lower()}",
        f"Load {len(found)} candidates from repository {repository}",
        *_table(rows),
        *(f"{digest} stays: {reason}" for digest, reason in stays.items()),
    ]
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return "".join(f"{stamp} [INFO] {line}\n" if not line.startswith((" ", "|")) else f"{line}\n" for line in lines)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in (_COLUMNS, *rows)) for column in range(len(_COLUMNS))]
    header = " | ".join(map(str.center, _COLUMNS, widths))
    rule = "|".join("-" * (width + 2) for width in widths)
    return [f"| {header} |", f"|{rule}|", *(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)]


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y/%m/%d %H:%M:%S")
