"""Harbor's roles in a project, and the one table of what each may do.

Source: Harbor, src/common/rbac/project/rbac_util.go. Resources and actions have Harbor's names: robots and
`GET /users/current/permissions` name them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Role(IntEnum):
    """Harbor's numbers."""

    PROJECT_ADMIN = 1
    DEVELOPER = 2
    GUEST = 3
    MAINTAINER = 4
    LIMITED_GUEST = 5

    @property
    def harbor_name(self) -> str:
        first, *rest = self.name.lower().split("_")
        return first + "".join(word.capitalize() for word in rest)


class Permission(NamedTuple):
    """An action on a kind of resource. A project itself is the resource `project`."""

    resource: str
    action: str


Permissions = frozenset[Permission]

_LETTERS = {
    "A": Role.PROJECT_ADMIN,
    "M": Role.MAINTAINER,
    "D": Role.DEVELOPER,
    "G": Role.GUEST,
    "L": Role.LIMITED_GUEST,
}
_ANYONE = "*"
"""Marks what everybody may do in a public project."""

_TABLE = {
    "project": {"read": "AMDGL*", "update": "A", "delete": "A"},
    "member": {"create": "A", "read": "AMDG", "update": "A", "delete": "A", "list": "AMDG"},
    "metadata": {"create": "A", "read": "AM", "update": "A", "delete": "A", "list": "A"},
    "log": {"list": "A"},
    "label": {"create": "AM", "read": "AMDG*", "update": "AM", "delete": "AM", "list": "AMDG*"},
    "quota": {"read": "AMDGL"},
    "repository": {
        "create": "AMD",
        "read": "AMDGL",
        "update": "AMD",
        "delete": "AM",
        "list": "AMDGL*",
        "pull": "AMDGL*",
        "push": "AMD",
    },
    "tag-retention": {
        "create": "AMD",
        "read": "AMD",
        "update": "AMD",
        "delete": "AMD",
        "list": "AMD",
        "operate": "AMD",
    },
    "immutable-tag": {"create": "AM", "update": "AM", "delete": "AM", "list": "AM"},
    "configuration": {"read": "AMDGL", "update": "A"},
    "robot": {"create": "A", "read": "AMDG", "update": "A", "delete": "A", "list": "AMDG"},
    "notification-policy": {"create": "A", "read": "AM", "update": "A", "delete": "A", "list": "AM"},
    "scan": {"create": "AM", "read": "AMDGL*", "stop": "AM"},
    "sbom": {"create": "AM", "read": "AMDGL", "stop": "AM"},
    "scanner": {"create": "A", "read": "AMDGL*"},
    "artifact": {"create": "AMD", "read": "AMDGL*", "delete": "AM", "list": "AMDGL*"},
    "artifact-addition": {"read": "AMDGL*"},
    "tag": {"create": "AMD", "delete": "AM", "list": "AMDGL*"},
    "accessory": {"list": "AMDGL*"},
    "artifact-label": {"create": "AMD", "delete": "AMD"},
    "preheat-policy": {"create": "A", "read": "A", "update": "A", "delete": "A", "list": "A"},
    "export-cve": {"create": "AMD", "read": "AMD", "list": "AMD"},
}


def _permissions(letter: str) -> Permissions:
    return frozenset(
        Permission(resource, action)
        for resource, actions in _TABLE.items()
        for action, letters in actions.items()
        if letter in letters
    )


OF_ROLE = {role: _permissions(letter) for letter, role in _LETTERS.items()}
OF_ANYONE = _permissions(_ANYONE)
"""What everybody may do in a public project."""
ALL: Permissions = frozenset(Permission(resource, action) for resource in _TABLE for action in _TABLE[resource])
"""What the system administrator may do in every project."""
