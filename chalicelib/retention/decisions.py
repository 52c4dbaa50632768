"""What goes and what stays of a repository, by rules and by what holds it: decided once, for a dry run as for a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.retention.survey import Survey


@dataclass(frozen=True)
class Plan:
    """What is to be deleted, in an order in which it can be."""

    going: Sequence[str]
    """The digests of candidates and of what follows them; what is about them goes with each."""
    reasons: Mapping[str, str]
    """Why candidates stay that no rule retains, by digest."""


def plan(survey: Survey, unretained: Collection[str], is_immutable: Callable[[str], bool]) -> Plan:
    """Which of the candidates that no rule retains can be deleted, and what follows them.

    As a delete has it (registry/deletion.py): nothing that an index names which stays, neither itself nor what is about
    it, and nothing with a tag that must stay, of its own or of what is about it. An index goes before what it names;
    an untagged child goes when the last index that names it has gone.
    """
    candidates = {each.digest for each in survey.candidates}
    waiting = [each.digest for each in survey.candidates if each.digest in unretained]
    going: list[str] = []
    gone: set[str] = set()
    reasons: dict[str, str] = {}
    is_changed = True
    while is_changed:
        is_changed = False
        for digest in list(waiting):
            reason = _held_by(survey, digest, gone, is_immutable)
            if reason:
                reasons[digest] = reason
                continue
            is_changed = True
            waiting.remove(digest)
            reasons.pop(digest, None)
            going.append(digest)
            gone |= {digest, *_attached(survey, digest)}
            waiting += [
                each
                for each in survey.children.get(digest, ())
                if each in survey.generations and each not in {*candidates, *waiting, *gone, *survey.tags}
            ]
    return Plan(going, {digest: reason for digest, reason in reasons.items() if digest in candidates})


def _held_by(survey: Survey, digest: str, gone: Collection[str], is_immutable: Callable[[str], bool]) -> str:
    """Why a delete would be refused when all of `gone` is deleted; empty when it would not."""
    attached = _attached(survey, digest)
    for each in (digest, *attached):
        tag = next((tag for tag in survey.tags.get(each, ()) if is_immutable(tag)), None)
        if tag is not None:
            return f"the tag {tag} is immutable"
        going = gone if each == digest else {*gone, digest, *attached}
        index = next((index for index in survey.indexes.get(each, ()) if index not in going), None)
        if index is not None:
            return f"the index {' '.join(survey.tags.get(index, ())) or index} names {each}"
    return ""


def _attached(survey: Survey, digest: str) -> list[str]:
    """What is about a manifest, at any depth."""
    found: list[str] = []
    waiting = [digest]
    while waiting:
        new = [each for each in survey.about.get(waiting.pop(), ()) if each not in (digest, *found)]
        found += new
        waiting += new
    return found
