"""What can go wrong with accounts, robots and members. The API's mapper writes these in Harbor's form."""

from __future__ import annotations

from chalicelib import domain_errors


class InvalidError(domain_errors.InvalidError):
    """A name, password, profile or permission that breaks a rule."""


class AlreadyExistsError(domain_errors.AlreadyExistsError):
    """The name or the e-mail address is taken, or the member has a role already."""


class ChangedError(domain_errors.ChangedError):
    """Others changed the robot at the same time."""


class ForgedError(domain_errors.NotAllowedError):
    """A request with a browser's session that another site may have made."""


class ProviderError(domain_errors.InvalidError):
    """The login provider cannot be reached, is misconfigured, or says what cannot be believed."""


class NotFoundError(domain_errors.NotFoundError):
    """No such user, robot or member."""


class NotAllowedError(domain_errors.NotAllowedError):
    """Nobody may do that to this account, or give what they do not have."""
