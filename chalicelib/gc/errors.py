"""What the collector refuses to do."""

from __future__ import annotations

from chalicelib import domain_errors


class TimesTooShortError(domain_errors.NotReadyError):
    """The grace is shorter than what it must outlive: blobs would be deleted under clients that were promised them."""


class ParameterInvalidError(domain_errors.InvalidError):
    """A parameter of a run has a value that it cannot have."""
