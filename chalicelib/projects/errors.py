"""What can go wrong with a project. The API's mapper writes these in Harbor's form."""

from __future__ import annotations


class ProjectError(Exception):
    """Base; the text is for the client."""


class NameInvalidError(ProjectError):
    """Not a project name in Harbor's grammar."""


class AlreadyExistsError(ProjectError):
    """The name is taken."""


class NotFoundError(ProjectError):
    """No such project."""


class ChangedError(ProjectError):
    """Others changed the project at the same time."""


class NotEmptyError(ProjectError):
    """The project still has repositories."""


class LimitInvalidError(ProjectError):
    """Not a storage limit that a project can have."""


class RegistryInvalidError(ProjectError):
    """No upstream registry that a project could be a proxy cache of."""


class RepositoryNotFoundError(ProjectError):
    """No such repository."""


class AllowlistInvalidError(ProjectError):
    """A list of vulnerabilities that breaks a rule."""


class LabelInvalidError(ProjectError):
    """A label's name, description or color breaks a rule."""


class LabelNotFoundError(ProjectError):
    """No such label, or not on this artifact."""


class RuleInvalidError(ProjectError):
    """A rule of immutability or retention that says nothing sensible."""


class RuleExistsError(ProjectError):
    """Another rule says the same."""


class RuleNotFoundError(ProjectError):
    """No such rule in this project."""


class ArtifactNotFoundError(ProjectError):
    """No such artifact, or no such tag of it."""


class AccessoryAloneError(ProjectError):
    """An accessory is copied with its subject only."""


class AdditionUnknownError(ProjectError):
    """Artifacts of this type have no such addition."""


class AdditionNotFoundError(ProjectError):
    """The artifact has it not."""


class AdditionInvalidError(ProjectError):
    """What the artifact holds cannot be read, or is too large to be shown."""
