"""A policy in one repository: what its rules do not retain is deleted, if it is still what was looked at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from chalicelib.projects import immutability
from chalicelib.projects.records import Project
from chalicelib.registry import deletion
from chalicelib.registry.errors import Immutable, ManifestUnknown, Referenced
from chalicelib.retention import candidates, rules
from chalicelib.retention.records import Candidate
from chalicelib.storage.conditions import now

RETAINED, DELETED, FAILED = "RETAIN", "DEL", "ERR"

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
    found = candidates.read(repository)
    kept = rules.retained(policy, repository.partition("/")[2], found, now())
    verdicts: dict[str, str] = {}
    notes: list[str] = []
    gone: set[str] = set()
    for each in _indexes_first(found):
        reason = _held_by(project, repository, each, gone)
        if kept is None or each.digest in kept or _is_immutable(project, repository, each):
            verdicts[each.digest] = RETAINED
        elif reason:
            notes.append(f"{each.digest} stays: {reason}")
            verdicts[each.digest] = RETAINED
        else:
            verdicts[each.digest] = DELETED if is_dry_run else _delete(repository, each, notes)
        if verdicts[each.digest] == DELETED:
            gone |= {each.digest, *each.dependents}
    retained = sum(verdict != DELETED for verdict in verdicts.values())
    log = _log(repository, found, verdicts, notes, is_dry_run=is_dry_run)
    deleted = [each for each in found if verdicts[each.digest] == DELETED and not is_dry_run]
    return Outcome(len(found), retained, deleted, log)


def _indexes_first(found: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, each index before what it names: that can be deleted only after it."""
    by_digest = {each.digest: each for each in found}
    ordered: dict[str, Candidate] = {}

    def visit(candidate: Candidate) -> None:
        waiting = [candidate]
        while waiting:
            first = [by_digest[each] for each in waiting[-1].indexes if each in by_digest and each not in ordered]
            if first:
                waiting.append(first[0])
            else:
                last = waiting.pop()
                ordered.setdefault(last.digest, last)

    for each in found:
        visit(each)
    return list(ordered.values())


def _held_by(project: Project, repository: str, candidate: Candidate, gone: Collection[str]) -> str:
    """Why a delete would be refused, by what the run has done or would have done so far; empty when nothing says so.

    A dry run asks what a run asks, so that both come to the same.
    """
    for index in candidate.indexes:
        if index not in gone:
            return f"an index of {repository} names it: {index}"
    if not project.immutable_rules:
        return ""
    for tag in deletion.tags_of_accessories(repository, candidate.digest):
        if immutability.is_immutable(project, repository, tag):
            return f"its accessory's tag {tag} is immutable"
    return ""


def _is_immutable(project: Project, repository: str, candidate: Candidate) -> bool:
    return any(immutability.is_immutable(project, repository, tag) for tag in candidate.tags)


def _delete(repository: str, candidate: Candidate, notes: list[str]) -> str:
    try:
        deleted = deletion.manifest_as_seen(repository, candidate.digest, candidate.generation, candidate.tags)
    except (Referenced, Immutable) as error:
        notes.append(f"{candidate.digest} stays: {error}")
        return RETAINED
    except ManifestUnknown:
        return DELETED
    if not deleted:
        notes.append(f"{candidate.digest} stays: it was pushed or tagged since it was looked at")
        return RETAINED
    for digest in candidate.dependents:
        _delete_dependent(repository, digest)
    return DELETED


def _delete_dependent(repository: str, digest: str) -> None:
    """What followed a deleted artifact goes with it, unless it has found a tag or another index since."""
    try:
        deletion.manifest_as_seen(repository, digest, "", ())
    except (Referenced, Immutable, ManifestUnknown):
        return


def _log(
    repository: str, found: Sequence[Candidate], verdicts: Mapping[str, str], notes: Sequence[str], *, is_dry_run: bool
) -> str:
    """Harbor's log of a retention task (src/pkg/retention/job.go)."""
    rows = [
        (
            each.digest, ",".join(each.tags), each.kind, ",".join(each.labels), _time(each.pushed),
            _time(each.pulled) if each.pulled else "", _time(each.created), verdicts[each.digest],
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
        *notes,
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
