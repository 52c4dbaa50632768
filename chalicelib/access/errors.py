"""What can go wrong with accounts and members. The API's mapper writes these in Harbor's form."""

from __future__ import annotations


class AccessError(Exception):
    """Base; the text is for the client."""


class InvalidError(AccessError):
    """A name, password or profile that breaks a rule."""


class AlreadyExistsError(AccessError):
    """The name or the e-mail address is taken, or the member has a role already."""


class NotFoundError(AccessError):
    """No such user or member."""


class NotAllowedError(AccessError):
    """Nobody may do that to this account."""
