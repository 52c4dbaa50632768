"""Which of the upstream registry's repositories a project lets be pulled (Harbor, src/lib/pattern/pattern.go).

A pattern is doublestar's, as everywhere in Harbor, or a regular expression of Go's, which RE2 follows: in time linear
in the text, whatever a project's administrator writes.
"""

from __future__ import annotations

from chalicelib import doublestar
from chalicelib.projects.records import Project

PATTERN, KIND = "proxy_cache_filter_pattern", "proxy_cache_filter_kind"
DOUBLESTAR, REGEX = "doublestar", "regex"
KINDS = (DOUBLESTAR, REGEX)


class FilterInvalidError(ValueError):
    """No pattern of its kind; the text says why."""


def require_valid(pattern: str, kind: str) -> None:
    """Raises FilterInvalidError; an empty pattern is none, and an empty kind is doublestar's."""
    if kind and kind not in KINDS:
        raise FilterInvalidError(f"the kind is {' or '.join(KINDS)}")
    if pattern.strip():
        matches(pattern.strip(), kind or DOUBLESTAR, "")


def lets_pull(project: Project, remote: str) -> bool:
    """Whether `project` lets the upstream repository `remote` be pulled: any, without a pattern."""
    pattern = project.metadata.get(PATTERN, "").strip()
    return not pattern or matches(pattern, project.metadata.get(KIND) or DOUBLESTAR, remote)


def matches(pattern: str, kind: str, remote: str) -> bool:
    """Whether all of `remote` matches. Raises FilterInvalidError."""
    if kind == REGEX:
        return _matches_expression(pattern, remote)
    try:
        return doublestar.match(pattern, remote)
    except doublestar.PatternInvalidError as error:
        raise FilterInvalidError(str(error)) from error


def _matches_expression(pattern: str, remote: str) -> bool:
    import re2  # noqa: PLC0415 -- few projects have one

    if len(pattern) > doublestar.LENGTH:
        raise FilterInvalidError(f"a pattern has up to {doublestar.LENGTH} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options).fullmatch(remote) is not None
    except re2.error as error:
        raise FilterInvalidError(f"no regular expression: {error}") from error
