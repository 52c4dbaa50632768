"""Tag immutability: which tags of a project stay what they are, once they are there (Harbor, src/pkg/immutable).

The rules stand in the project's own item: a push reads that anyway, to know who may push, so they cost it no call. What
it reads may be 30 seconds old (projects/rules.py), and so may be the rules that it obeys; a delete reads them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chalicelib import retrying
from chalicelib.oci.errors import Immutable
from chalicelib.projects import rules, selectors
from chalicelib.projects.errors import ChangedError, RuleExistsError, RuleInvalidError, RuleNotFoundError
from chalicelib.projects.records import Project
from chalicelib.projects.store import projects as table

RULES = 15
"""Of a project, as Harbor's console allows."""

_ACTION, _TEMPLATE = "immutable", "immutable_template"
_WHAT_COUNTS = ("action", "template", "tag_selectors", "scope_selectors")
"""Of a rule, to tell it from others: two that do the same are one."""

Rule = Mapping[str, Any]
"""The swagger's ImmutableRule."""


def is_immutable(project: Project, repository: str, tag: str) -> bool:
    """Whether a rule of `project` keeps `tag` of `repository` as it is.

    As in Harbor only the first selector of each kind counts.
    """
    name = repository.partition("/")[2]
    return any(
        selectors.parse(rule["scope_selectors"]["repository"][0], selectors.REPOSITORIES).selects_repository(name)
        and selectors.parse(rule["tag_selectors"][0], selectors.TAGS).selects_tags([tag])
        for rule in project.immutable_rules
        if not rule["disabled"]
    )


def require_movable(repository: str, tag: str) -> None:
    """Raises Immutable when `tag`, which exists, must go on pointing where it does."""
    project = rules.find(repository.partition("/")[0])
    if project is not None and is_immutable(project, repository, tag):
        name = repository.partition("/")[2]
        raise Immutable(f"Failed to process request due to '{name}:{tag}' configured as immutable.")


def require_deletable(repository: str, tags: Iterable[str]) -> None:
    """Raises Immutable when one of `tags` must stay."""
    project = table.read(repository.partition("/")[0])
    for tag in tags if project is not None and project.immutable_rules else ():
        if project is not None and is_immutable(project, repository, tag):
            raise Immutable(f"the tag {tag} configured as immutable, cannot be deleted")


def create(project: Project, document: Rule) -> int:
    """Add a rule, which is not disabled, and return its number.

    Raises RuleInvalidError, RuleExistsError, or ChangedError when others keep changing the project.
    """
    rule = {**_checked(document), "id": table.next_immutable_rule(), "disabled": False}
    _change(project, lambda present: [*present, rule])
    return int(rule["id"])


def update(project: Project, number: int, document: Rule) -> None:
    """Replace a rule, or disable it. Raises as `create` does, and RuleNotFoundError."""
    rule = {**_checked(document), "id": number}

    def replaced(present: Sequence[Rule]) -> list[Rule]:
        _require_among(present, number)
        return [rule if each["id"] == number else each for each in present]

    _change(project, replaced)


def delete(project: Project, number: int) -> None:
    """Raises RuleNotFoundError or ChangedError."""

    def without(present: Sequence[Rule]) -> list[Rule]:
        _require_among(present, number)
        return [each for each in present if each["id"] != number]

    _change(project, without)


def _change(project: Project, changed: Callable[[Sequence[Rule]], list[Rule]]) -> None:
    for _ in retrying.attempts(retrying.LOW):
        current = rules.get(project.name)
        after = changed(current.immutable_rules)
        if len(after) > RULES:
            raise RuleInvalidError(f"a project has up to {RULES} immutable tag rules")
        if len({repr([each[name] for name in _WHAT_COUNTS]) for each in after}) < len(after):
            raise RuleExistsError("immutable rule already exists")
        if rules.set_immutable_rules(current, after):
            return
    raise ChangedError(f"the project {project.name} is being changed by others: try again")


def require_present(project: Project, number: int) -> None:
    """Raises RuleNotFoundError when the project has no such rule."""
    _require_among(rules.get(project.name).immutable_rules, number)


def _require_among(present: Sequence[Rule], number: int) -> None:
    if all(each["id"] != number for each in present):
        raise RuleNotFoundError(f"immutable rule {number} not found")


def _checked(document: Rule) -> dict[str, Any]:
    """The rule in the form that is kept. Raises RuleInvalidError."""
    if (document.get("action", _ACTION), document.get("template", _TEMPLATE)) != (_ACTION, _TEMPLATE):
        raise RuleInvalidError(f"a rule's action must be {_ACTION} and its template {_TEMPLATE}")
    repositories, tags = selectors.parse_rule(document)
    return {
        **selectors.parse_standing(document),
        "action": _ACTION,
        "template": _TEMPLATE,
        "params": {},
        "tag_selectors": [each.to_json() for each in tags],
        "scope_selectors": {"repository": [each.to_json() for each in repositories]},
    }
