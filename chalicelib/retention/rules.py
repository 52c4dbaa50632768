"""The rules of retention: what a rule says, and which artifacts it retains (Harbor, src/pkg/retention/policy/rule)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.projects import selectors
from chalicelib.projects.errors import RuleInvalidError
from chalicelib.retention.records import Candidate

RULES = 15
"""Of a policy (Harbor, src/server/v2.0/handler/retention.go)."""

RETAIN = "retain"

_DAY_MS = 86_400_000
_COUNT_LIMIT = 32_766
_DAYS_LIMIT = 20_190_904
"""Harbor's limits; this is the date on which theirs was written."""

Rule = Mapping[str, Any]
"""The swagger's RetentionRule."""

Choose = Callable[[Sequence[Candidate], int, int], Iterable[Candidate]]
"""Which of some artifacts are retained, given the rule's number and the time."""


@dataclass(frozen=True)
class Template:
    """A kind of rule. One with a number has a parameter of the template's own name; `default` is what it is without."""

    text: str
    unit: str
    default: int
    choose: Choose
    goes_by_pulls: bool = False


def _most(time_of: Callable[[Candidate], int]) -> Choose:
    return lambda found, count, _now: sorted(found, key=time_of, reverse=True)[:count]


def _most_used(time_of: Callable[[Candidate], int]) -> Choose:
    """As `_most`, and what may have been pulled later than the last of those: nobody knows yet (registry/pulls.py)."""

    def choose(found: Sequence[Candidate], count: int, now: int) -> list[Candidate]:
        ordered = sorted(found, key=time_of, reverse=True)
        chosen, others = ordered[:count], ordered[count:]
        return [*chosen, *(each for each in others if chosen and each.last_possible_pull(now) > time_of(chosen[-1]))]

    return choose


def _within(time_of: Callable[[Candidate], int]) -> Choose:
    return lambda found, days, now: (each for each in found if time_of(each) >= now - days * _DAY_MS)


def _pushed(candidate: Candidate) -> int:
    return candidate.pushed


def _used(candidate: Candidate) -> int:
    return candidate.used


def _active(candidate: Candidate) -> int:
    return max(candidate.pushed, candidate.pulled)


TEMPLATES = {
    "latestPushedK": Template("the most recently pushed # artifacts", "COUNT", 10, _most(_pushed)),
    "latestPulledN": Template(
        "the most recently pulled # artifacts", "COUNT", 10, _most_used(_used), goes_by_pulls=True
    ),
    "nDaysSinceLastPush": Template("pushed within the last # days", "DAYS", 30, _within(_pushed)),
    "nDaysSinceLastPull": Template("pulled within the last # days", "DAYS", 30, _within(_used), True),
    "always": Template("always", "", 0, lambda found, _count, _now: found),
}
"""By name, in the order of Harbor's console."""

UNLISTED = {
    "latestActiveK": Template(
        "the most recently active # artifacts", "COUNT", 10, _most_used(_active), goes_by_pulls=True
    ),
    "lastXDays": Template("pushed within the last # days", "DAYS", 10, _within(_pushed)),
    "nothing": Template("none", "", 0, lambda _found, _count, _now: ()),
}
"""Harbor knows these too, and its console does not offer them."""

_KNOWN = {**TEMPLATES, **UNLISTED}


def retained(rules: Iterable[Rule], repository: str, found: Sequence[Candidate], now: int) -> set[str] | None:
    """The digests that one of `rules` retains; None when no rule is for `repository` (below its project).

    Every rule looks at all artifacts that each of its tag selectors selects. What it selects and does not retain, and
    what none selects, is not retained (Harbor, src/pkg/retention/policy/alg/or).
    """
    concerned = [rule for rule in rules if not rule["disabled"] and _is_for(rule, repository)]
    if not concerned:
        return None
    return {each.digest for rule in concerned for each in _chosen(rule, found, now)}


def concerns(rules: Iterable[Rule], repository: str) -> bool:
    """Whether one of `rules` is for `repository` (below its project)."""
    return any(not rule["disabled"] and _is_for(rule, repository) for rule in rules)


def go_by_pulls(rules: Iterable[Rule], repository: str) -> bool:
    """Whether one of the `rules` that are for `repository` (below its project) asks when artifacts were pulled."""
    concerned = (rule for rule in rules if not rule["disabled"] and _is_for(rule, repository))
    return any(_KNOWN[rule["template"]].goes_by_pulls for rule in concerned)


def checked(documents: Any) -> list[dict[str, Any]]:
    """The rules of a policy in the form that is kept, numbered from 0. Raises RuleInvalidError."""
    if not isinstance(documents, list) or not all(isinstance(document, Mapping) for document in documents):
        raise RuleInvalidError("rules must be a list of objects")
    if len(documents) > RULES:
        raise RuleInvalidError(f"only {RULES} rules are allowed at most")
    return [{"id": number, **_checked(document)} for number, document in enumerate(documents)]


def duplicate(rules: Sequence[Rule]) -> tuple[int, int] | None:
    """Two rules that say the same, by their numbers."""
    seen: dict[str, int] = {}
    for number, rule in enumerate(rules):
        text = json.dumps({**rule, "id": 0}, sort_keys=True)
        if text in seen:
            return number, seen[text]
        seen[text] = number
    return None


def _is_for(rule: Rule, repository: str) -> bool:
    wanted = (selectors.parse(each, selectors.REPOSITORIES) for each in rule["scope_selectors"]["repository"])
    return all(each.selects_repository(repository) for each in wanted)


def _chosen(rule: Rule, found: Sequence[Candidate], now: int) -> Iterable[Candidate]:
    for document in rule["tag_selectors"]:
        selector = selectors.parse(document, selectors.TAGS)
        found = [each for each in found if selector.selects_tags(each.tags)]
    template = _KNOWN[rule["template"]]
    return template.choose(found, rule["params"].get(rule["template"], template.default), now)


def _checked(document: Rule) -> dict[str, Any]:
    name, params = document.get("template"), document.get("params") or {}
    if not isinstance(name, str) or name not in _KNOWN:
        raise RuleInvalidError(f"a rule's template must be one of {', '.join(_KNOWN)}")
    if document.get("action") != RETAIN:
        raise RuleInvalidError(f"a rule's action must be {RETAIN}")
    if not isinstance(params, Mapping):
        raise RuleInvalidError("params must be an object")
    repositories, tags = selectors.parse_rule(document)
    return {
        **selectors.parse_standing(document),
        "action": RETAIN,
        "template": name,
        "params": {name: _number(name, params[name])} if name in params and _KNOWN[name].unit else {},
        "tag_selectors": [each.to_json() for each in tags],
        "scope_selectors": {"repository": [each.to_json() for each in repositories]},
    }


def _number(name: str, value: Any) -> int:
    limit = _COUNT_LIMIT if _KNOWN[name].unit == "COUNT" else _DAYS_LIMIT
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        raise RuleInvalidError(f"{name} must be a whole number")
    if not 0 <= value <= limit:
        raise RuleInvalidError(f"{name} must be from 0 to {limit}")
    return int(value)
