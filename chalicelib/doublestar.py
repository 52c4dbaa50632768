"""Harbor's patterns of repositories and tags: those of Go's doublestar, version 1 (bmatcuk/doublestar).

`*` matches what has no slash in it, `**` as a whole component any number of components, `?` one character but no slash,
`[a-z]` and `[^a-z]` one of a class, `{a,b}` one of several patterns, `\\` takes the next character as it is.

A pattern is followed along the text from all the places at once that it can have reached, so it costs its length times
the text's: a project's administrator writes patterns, and every push waits for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

LENGTH = 1024
"""Characters of a pattern."""
_DEPTH = 8
"""How far braces may stand in braces."""

Places = frozenset[int]
Step = Callable[[str, Places], Places]
"""From where in a text a pattern's part can start to where it can end."""


class PatternInvalidError(ValueError):
    """Not a pattern; the text says why."""


def match(pattern: str, text: str) -> bool:
    """Whether all of `text` matches. Raises PatternInvalidError."""
    return len(text) in _follow(_compile(pattern), text, frozenset({0}))


def require_valid(pattern: str) -> None:
    """Raises PatternInvalidError."""
    _compile(pattern)


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> tuple[Step, ...]:
    if len(pattern) > LENGTH:
        raise PatternInvalidError(f"a pattern has up to {LENGTH} characters")
    parser = _Parser(pattern)
    steps = parser.sequence(0)
    return tuple(steps)


@dataclass
class _Parser:
    pattern: str
    at: int = 0

    def sequence(self, depth: int) -> list[Step]:
        """What stands up to the end, or in braces up to the next comma or closing brace."""
        steps: list[Step] = []
        while self.at < len(self.pattern) and not (depth and self.pattern[self.at] in ",}"):
            steps.append(self._step(depth))
        return steps

    def _step(self, depth: int) -> Step:
        character = self._take()
        match character:
            case "*":
                return self._star()
            case "?":
                return _one(lambda found: found != "/")
            case "[":
                return self._class()
            case "{":
                return self._alternatives(depth + 1)
            case "\\":
                return _literal(self._take())
            case _:
                return _literal(character)

    def _take(self) -> str:
        if self.at == len(self.pattern):
            raise PatternInvalidError(f"the pattern {self.pattern!r} ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def _star(self) -> Step:
        start = self.at - 1
        while self.pattern.startswith("*", self.at):
            self.at += 1
        is_component = self.at - start == 2 and (start == 0 or self.pattern[start - 1] == "/")
        if is_component and self.at == len(self.pattern):
            return _rest
        if is_component and self.pattern[self.at] == "/":
            self.at += 1
            return _components
        return _no_slash

    def _class(self) -> Step:
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        ranges: list[tuple[str, str]] = []
        while not (self.pattern.startswith("]", self.at) and ranges):
            first = last = self._class_character()
            if self.pattern.startswith("-", self.at):
                self.at += 1
                last = self._class_character()
            ranges.append((first, last))
        self.at += 1
        return _one(lambda found: found != "/" and any(low <= found <= high for low, high in ranges) != negated)

    def _class_character(self) -> str:
        character = self._take()
        if character in "-]":
            raise PatternInvalidError(f"{character!r} in a class must stand behind a backslash: {self.pattern!r}")
        return self._take() if character == "\\" else character

    def _alternatives(self, depth: int) -> Step:
        if depth > _DEPTH:
            raise PatternInvalidError(f"braces may stand in braces up to {_DEPTH} deep")
        alternatives = [self.sequence(depth)]
        while self._take() == ",":
            alternatives.append(self.sequence(depth))
        return lambda text, places: frozenset().union(*(_follow(each, text, places) for each in alternatives))


def _follow(steps: tuple[Step, ...] | list[Step], text: str, places: Places) -> Places:
    for step in steps:
        if not places:
            break
        places = step(text, places)
    return places


def _literal(character: str) -> Step:
    return _one(lambda found: found == character)


def _one(fits: Callable[[str], bool]) -> Step:
    return lambda text, places: frozenset(place + 1 for place in places if place < len(text) and fits(text[place]))


def _no_slash(text: str, places: Places) -> Places:
    reached, is_reached = set(), False
    for place in range(len(text) + 1):
        is_reached = place in places or (is_reached and text[place - 1] != "/")
        if is_reached:
            reached.add(place)
    return frozenset(reached)


def _components(text: str, places: Places) -> Places:
    """`**/`: nothing, or anything that ends with a slash."""
    first = min(places)
    return places | {place + 1 for place in range(first, len(text)) if text[place] == "/"}


def _rest(text: str, _places: Places) -> Places:
    return frozenset({len(text)})
