"""What an upstream was asked, so that a test can count it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass
class Asked:
    """A request and what it got. `path` has no query; `headers` have lower-cased names (docker-registry logs none)."""

    method: str
    path: str
    query: str
    status: int
    sent: int
    """Bytes of the answer's body; the scripted upstream counts them as they go."""
    headers: Mapping[str, str] = field(default_factory=dict)


class Log:
    """What a server was asked: an answer is in it once it is complete. Paths are globs, in which * matches / too."""

    def asked(self, method: str = "*", path: str = "*") -> list[Asked]:
        return [each for each in self._all() if fnmatchcase(each.method, method) and fnmatchcase(each.path, path)]

    def count(self, method: str = "*", path: str = "*") -> int:
        return len(self.asked(method, path))

    def sent(self, path: str) -> int:
        """How many bytes went out of what answers GETs of a path, in whole or in ranges."""
        return sum(each.sent for each in self.asked("GET", path) if each.status in (200, 206))

    def forget(self) -> None:
        """Count anew from here."""
        raise NotImplementedError

    def _all(self) -> list[Asked]:
        raise NotImplementedError
