"""Selectors of tags and repositories in the rules of immutability and retention (Harbor, src/lib/selector)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib import doublestar
from chalicelib.projects.errors import RuleInvalidError

TAGS = ("matches", "excludes")
REPOSITORIES = ("repoMatches", "repoExcludes")
KIND = "doublestar"

_SELECTORS = 16
"""How many a rule may have of a kind."""
_EXTRAS_LENGTH = 256


@dataclass(frozen=True)
class Selector:
    """`extras` is JSON, of which `untagged` says what becomes of artifacts without a tag."""

    decoration: str
    pattern: str
    extras: str

    def selects_repository(self, name: str) -> bool:
        """`name` is the repository's below its project."""
        return doublestar.match(self.pattern, name) == (self.decoration == "repoMatches")

    def selects_tags(self, tags: Collection[str]) -> bool:
        """Whether an artifact with these tags is selected: for one of them, or for having none."""
        is_matching = self.decoration == "matches"
        if tags:
            return any(doublestar.match(self.pattern, tag) == is_matching for tag in tags)
        return self._untagged == is_matching

    def to_json(self) -> dict[str, str]:
        """The swagger's RetentionSelector and ImmutableSelector."""
        return {"kind": KIND, "decoration": self.decoration, "pattern": self.pattern, "extras": self.extras}

    @property
    def _untagged(self) -> bool:
        """As in Harbor, absent it stands for: those without a tag are selected, by either decoration."""
        fields = json.loads(self.extras) if self.extras else {}
        untagged = fields.get("untagged")
        return untagged if isinstance(untagged, bool) else self.decoration == "matches"


def parse(document: Any, decorations: Sequence[str]) -> Selector:
    """The selector that a JSON document describes. Raises RuleInvalidError."""
    if not isinstance(document, Mapping):
        raise RuleInvalidError("a selector must be an object")
    if (document.get("kind") or KIND) != KIND:  # Harbor's command line sends none
        raise RuleInvalidError(f"a selector's kind must be {KIND}")
    if document.get("decoration") not in decorations:
        raise RuleInvalidError(f"a selector's decoration must be {' or '.join(decorations)}")
    pattern, extras = document.get("pattern"), document.get("extras") or ""
    if not isinstance(pattern, str) or not pattern:
        raise RuleInvalidError("a selector needs a pattern")
    try:
        doublestar.require_valid(pattern)
        pattern.encode()
        is_object = not extras or (len(extras) <= _EXTRAS_LENGTH and isinstance(json.loads(extras), dict))
    except (ValueError, TypeError, RecursionError) as error:
        raise RuleInvalidError(f"a selector's pattern or extras cannot be read: {error}") from error
    if not is_object:
        raise RuleInvalidError("a selector's extras must be a short JSON object")
    return Selector(document["decoration"], pattern, extras)


def parse_standing(document: Mapping[str, Any]) -> dict[str, Any]:
    """A rule's priority, and whether it is disabled. Raises RuleInvalidError."""
    priority, disabled = document.get("priority") or 0, document.get("disabled") or False
    if not isinstance(priority, int) or not isinstance(disabled, bool) or abs(priority) > 2**31:
        raise RuleInvalidError("priority must be a number and disabled true or false")
    return {"priority": priority, "disabled": disabled}


def parse_rule(document: Mapping[str, Any]) -> tuple[list[Selector], list[Selector]]:
    """The selectors of repositories and of tags of a rule. Raises RuleInvalidError."""
    scope = document.get("scope_selectors")
    if not isinstance(scope, Mapping) or set(scope) != {"repository"}:
        raise RuleInvalidError("scope_selectors must hold the selectors of `repository`, and nothing else")
    return _parse_list(scope["repository"], REPOSITORIES), _parse_list(document.get("tag_selectors"), TAGS)


def _parse_list(documents: Any, decorations: Sequence[str]) -> list[Selector]:
    if not isinstance(documents, list) or not 1 <= len(documents) <= _SELECTORS:
        raise RuleInvalidError(f"a rule needs 1 to {_SELECTORS} selectors of tags and as many of repositories")
    return [parse(document, decorations) for document in documents]
