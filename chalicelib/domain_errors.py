"""The kinds of what a capability cannot do. Each capability's errors.py names its own; the API maps kinds to statuses.

The text of an error is for the client: it says what is wrong, and holds no secret.
"""

from __future__ import annotations


class DomainError(Exception):
    """Base of all kinds."""


class InvalidError(DomainError):
    """What was asked for breaks a rule."""


class NotFoundError(DomainError):
    """There is no such thing, or the caller may not know of it."""


class AlreadyExistsError(DomainError):
    """There is one already: the name is taken, or another is under way."""


class NotAllowedError(DomainError):
    """Nobody may do that, whatever their role."""


class NotReadyError(DomainError):
    """Something else has to be done first."""


class ChangedError(DomainError):
    """Others change the same at the same time: it may be tried again."""
