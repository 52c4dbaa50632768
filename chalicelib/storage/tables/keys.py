"""What keys are made of, for those who read items without their models."""

from __future__ import annotations

CONFIGURATION, SYSTEM = "configuration", "system"
MANIFEST_PREFIX = "manifest|"
CANDIDATE_SHARDS = 16
