"""What can go wrong with a webhook. The API's mapper writes these in Harbor's form."""

from __future__ import annotations

from chalicelib.projects.errors import ProjectError


class WebhookError(ProjectError):
    """Base; the text is for the client."""


class PolicyInvalidError(WebhookError):
    """A policy without a name, with an unknown event or target, or with an address that must not be called."""


class PolicyExistsError(WebhookError):
    """The project has a policy of this name."""


class PolicyNotFoundError(WebhookError):
    """No such policy in this project."""


class DeliveryNotFoundError(WebhookError):
    """No such execution of this policy, or no such task of it."""


class PoliciesChangedError(WebhookError):
    """Others changed the project's policies at the same time."""
