"""What can go wrong with a project. The API's mapper writes these in Harbor's form."""

from __future__ import annotations

from chalicelib import domain_errors


class NameInvalidError(domain_errors.InvalidError):
    """Not a project name in Harbor's grammar."""


class AlreadyExistsError(domain_errors.AlreadyExistsError):
    """The name is taken."""


class NotFoundError(domain_errors.NotFoundError):
    """No such project."""


class ChangedError(domain_errors.ChangedError):
    """Others changed the project at the same time."""


class NotEmptyError(domain_errors.NotReadyError):
    """The project still has repositories."""


class LimitInvalidError(domain_errors.InvalidError):
    """Not a storage limit that a project can have."""


class RegistryInvalidError(domain_errors.InvalidError):
    """No upstream registry that a project could be a proxy cache of."""


class RepositoryNotFoundError(domain_errors.NotFoundError):
    """No such repository."""


class AllowlistInvalidError(domain_errors.InvalidError):
    """A list of vulnerabilities that breaks a rule."""


class LabelInvalidError(domain_errors.InvalidError):
    """A label's name, description or color breaks a rule."""


class LabelNotFoundError(domain_errors.NotFoundError):
    """No such label, or not on this artifact."""


class RuleInvalidError(domain_errors.InvalidError):
    """A rule of immutability or retention that says nothing sensible."""


class RuleExistsError(domain_errors.AlreadyExistsError):
    """Another rule says the same."""


class RuleNotFoundError(domain_errors.NotFoundError):
    """No such rule in this project."""


class ArtifactNotFoundError(domain_errors.NotFoundError):
    """No such artifact, or no such tag of it."""


class AccessoryAloneError(domain_errors.NotAllowedError):
    """An accessory is copied with its subject only."""


class AdditionUnknownError(domain_errors.InvalidError):
    """Artifacts of this type have no such addition."""


class AdditionNotFoundError(domain_errors.NotFoundError):
    """The artifact has it not."""


class AdditionInvalidError(domain_errors.InvalidError):
    """What the artifact holds cannot be read, or is too large to be shown."""
