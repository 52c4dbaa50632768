"""What can go wrong with accounts, robots and members. The API's mapper writes these in Harbor's form."""

from __future__ import annotations


class AccessError(Exception):
    """Base; the text is for the client."""


class InvalidError(AccessError):
    """A name, password, profile or permission that breaks a rule."""


class AlreadyExistsError(AccessError):
    """The name or the e-mail address is taken, or the member has a role already."""


class ChangedError(AccessError):
    """Others changed the robot at the same time."""


class ForgedError(AccessError):
    """A request with a browser's session that another site may have made."""


class ProviderError(AccessError):
    """The login provider cannot be reached, is misconfigured, or says what cannot be believed."""


class NotFoundError(AccessError):
    """No such user, robot or member."""


class NotAllowedError(AccessError):
    """Nobody may do that to this account, or give what they do not have."""
