"""What can go wrong with a webhook. The API's mapper writes these in Harbor's form."""

from __future__ import annotations

from chalicelib import domain_errors


class PolicyInvalidError(domain_errors.InvalidError):
    """A policy without a name, with an unknown event or target, or with an address that must not be called."""


class PolicyExistsError(domain_errors.AlreadyExistsError):
    """The project has a policy of this name."""


class PolicyNotFoundError(domain_errors.NotFoundError):
    """No such policy in this project."""


class DeliveryNotFoundError(domain_errors.NotFoundError):
    """No such execution of this policy, or no such task of it."""


class PoliciesChangedError(domain_errors.ChangedError):
    """Others changed the project's policies at the same time."""
