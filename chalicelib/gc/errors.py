"""What the collector refuses to do."""

from __future__ import annotations

from chalicelib.jobs.errors import JobError


class GarbageCollectionError(JobError):
    """Base of the collector's errors."""


class TimesTooShortError(GarbageCollectionError):
    """The grace is shorter than what it must outlive: blobs would be deleted under clients that were promised them."""


class ParameterInvalidError(GarbageCollectionError):
    """A parameter of a run has a value that it cannot have."""
