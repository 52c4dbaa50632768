"""A project, as the rest of Berth sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

UNLIMITED = -1
"""Harbor's number for a storage limit that is none."""


@dataclass(frozen=True)
class Project:
    """Times are milliseconds since 1970. `version` is fresh with every write of the record."""

    name: str
    project_id: int
    public: bool
    owner: str
    owner_number: int
    created: int
    updated: int
    version: str
    metadata: Mapping[str, str]
    """Harbor's settings of a project by name, such as `auto_scan`, beside `public`."""
    repositories: int
    """How many there are."""
    PULL_POLICIES: ClassVar = ("enable_content_trust_cosign", "enable_content_trust", "prevent_vul")
    """The settings that keep some artifacts from being pulled."""

    immutable_rules: Sequence[Mapping[str, Any]] = ()
    """Which tags cannot be moved or deleted, as chalicelib/projects/immutability.py reads it."""
    webhook_events: Sequence[str] = ()
    """The events that a webhook of the project is to be told of (chalicelib/webhooks/policies.py)."""
    storage_limit: int = UNLIMITED
    """Bytes that the project's distinct blobs and manifests may have; UNLIMITED for no limit."""
    registry_id: int = 0
    """The number of the upstream registry that the project is a proxy cache of, for its whole life; 0 for none."""

    @property
    def is_proxy(self) -> bool:
        return self.registry_id != 0

    @property
    def guards_pulls(self) -> bool:
        return any(self.metadata.get(name) == "true" for name in self.PULL_POLICIES)
