"""What keys are made of, for those who read items without their models."""

from __future__ import annotations

import zlib

CONFIGURATION, SYSTEM = "configuration", "system"
MANIFEST_PREFIX = "manifest|"
CANDIDATE_SHARDS = 16


ADMINISTRATOR = 1
"""The number of the administrator, as in Harbor. Its account is the deployment's, in Secrets Manager, not here."""


def padded(number: int) -> str:
    return f"{number:010d}"


CATALOG_PREFIX = "catalog|"


def shard(digest: str) -> str:
    """Which shard of the sparse candidates index a digest belongs to."""
    return str(zlib.crc32(digest.encode()) % CANDIDATE_SHARDS)


GROUP = "group"
