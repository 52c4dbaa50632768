"""What exists, by the names of the parameters that ask for it, so that random requests do not only meet 404s."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from chalicelib.api import PREFIX
from chalicelib.http import Response

_PARAMETER = {
    "export": "execution_id",
    "executions": "eid",
    "immutabletagrules": "immutable_rule_id",
    "labels": "label_id",
    "members": "mid",
    "metadatas": "meta_name",
    "policies": "webhook_policy_id",
    "purgeaudit": "purge_id",
    "quotas": "id",
    "retentions": "id",
    "robots": "robot_id",
    "tags": "tag_name",
    "usergroups": "group_id",
    "users": "user_id",
}
"""The parameter that names an entry of a collection, by the collection's path."""


class Pool:
    """Values for parameters: those given at first, and those that the answers' Locations tell of."""

    def __init__(self, **known: str) -> None:
        self._values: dict[str, list[str]] = defaultdict(list)
        for name, value in known.items():
            self._values[name].append(value)

    def learn(self, response: Response) -> None:
        """A link: what was created can be asked for, changed and deleted by what comes later."""
        match = re.match(rf"{PREFIX}/(?:.*/)?([a-z]+)/([^/]+)\Z", response.headers.get("Location", ""))
        if response.status == 201 and match and match[1] in _PARAMETER:
            self._values[_PARAMETER[match[1]]].append(match[2])

    def values(self, parameter: str) -> list[str]:
        """What is known for a parameter, the latest last."""
        return self._values[parameter][-8:]

    def fill(self, parameters: dict[str, Any], choices: list[int]) -> dict[str, Any]:
        """`parameters` with what is known in place of some: a choice of 0 leaves one as it is."""
        filled = dict(parameters)
        for (name, value), choice in zip(sorted(parameters.items()), choices, strict=False):
            known = self.values(name)
            filled[name] = known[choice % len(known)] if known and choice else value
        return filled
