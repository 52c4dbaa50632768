"""Labels of a project or of all projects, and putting them on artifacts. Rules: Harbor, src/pkg/label."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from chalicelib import retrying
from chalicelib.projects.errors import (
    AlreadyExistsError,
    ChangedError,
    LabelInvalidError,
    LabelNotFoundError,
)
from chalicelib.registry.store import labels as table
from chalicelib.registry.store.artifacts import Artifact
from chalicelib.registry.store.labels import GLOBAL, Label
from chalicelib.storage.conditions import now

_NAME_LENGTH = 128
_DESCRIPTION_LENGTH = 2048
_COLOR_LENGTH = 16
"""Harbor's column; what is in it is the console's matter, and Terraform sends `false` for no color."""
_LABELS_OF_ONE = 25
"""Labels that an artifact may carry: they are removed in one transaction with it."""
_SIDE_BY_SIDE = 8
_REQUEST_SECONDS = 20.0
"""How long one request takes a label off artifacts: the gateway ends it at 30 seconds."""


def get(number: int) -> Label:
    """Raises LabelNotFoundError."""
    label = table.read(number)
    if label is None:
        raise LabelNotFoundError(f"label {number} not found")
    return label


def list_all(project_id: int) -> list[Label]:
    """The labels of the project with this number, or the global ones, by name."""
    return table.read_all(project_id)


def create(project_id: int, name: str, description: str, color: str) -> Label:
    """Raises LabelInvalidError or AlreadyExistsError."""
    _require(name, description, color)
    time = now()
    label = Label(table.next_number(), project_id, name, description, color, time, time, "")
    if not table.create(label):
        raise AlreadyExistsError(f"label {name} already exists")
    return label


def update(number: int, name: str, description: str, color: str) -> None:
    """Raises LabelNotFoundError, LabelInvalidError or AlreadyExistsError."""
    _require(name, description, color)
    for _ in retrying.attempts(retrying.LOW):
        label = get(number)
        if table.replace(label, replace(label, name=name, description=description, color=color)):
            return
    raise AlreadyExistsError(f"label {name} already exists, or {number} is being changed by others")


def delete(number: int) -> None:
    """Delete a label, and take it from all that carries it. Raises LabelNotFoundError or ChangedError.

    What a delete leaves on artifacts that was killed, or has more carriers than a request has time for, no list shows:
    it goes when an artifact needs the room for another label, or with the artifact.
    """
    _until_unchanged(lambda: table.delete(get(number)), f"label {number} is being changed by others")
    deadline = time.monotonic() + _REQUEST_SECONDS

    def take_off(carrier: tuple[str, str]) -> None:
        if time.monotonic() < deadline:
            table.detach(number, *carrier)

    # A label that is gone is put on nothing more: these are all.
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        list(pool.map(take_off, table.artifacts_with(number)))


def delete_all(project_id: int) -> None:
    """Delete the labels of a project, which is going to be deleted itself."""
    for label in table.read_all(project_id):
        delete(label.number)


def attach(number: int, project_id: int, artifact: Artifact) -> None:
    """Put a label on an artifact of a project.

    Raises LabelNotFoundError, also for one of another project, AlreadyExistsError, or LabelInvalidError when the
    artifact carries too many.
    """
    label = get(number)
    if label.project_id not in (GLOBAL, project_id):
        raise LabelNotFoundError(f"label {number} not found")
    if not _has_room(artifact):
        raise LabelInvalidError(f"an artifact carries up to {_LABELS_OF_ONE} labels")
    if not table.attach(label, artifact.repository, artifact.digest):
        raise AlreadyExistsError(f"the artifact has the label {label.name} already")


def detach(number: int, artifact: Artifact) -> None:
    """Take a label from an artifact. Raises LabelNotFoundError when it has it not."""
    if not table.detach(number, artifact.repository, artifact.digest):
        raise LabelNotFoundError(f"the artifact has no label {number}")


def _has_room(artifact: Artifact) -> bool:
    """Whether an artifact may carry one more label; those that are gone are taken off it when it seems full."""
    carried = table.numbers_of(artifact.repository, artifact.digest)
    if len(carried) < _LABELS_OF_ONE:
        return True
    there = {label.number for label in table.labels_of(artifact.repository, artifact.digest)}
    for number in set(carried) - there:
        table.detach(number, artifact.repository, artifact.digest)
    return len(there) < _LABELS_OF_ONE


def _until_unchanged(attempt: Callable[[], bool], message: str) -> None:
    for _ in retrying.attempts(retrying.LOW):
        if attempt():
            return
    raise ChangedError(message)


def _require(name: str, description: str, color: str) -> None:
    if not 1 <= len(name) <= _NAME_LENGTH or name != name.strip():
        raise LabelInvalidError(f"a label's name has 1 to {_NAME_LENGTH} characters, and no blanks around it")
    if len(description) > _DESCRIPTION_LENGTH:
        raise LabelInvalidError(f"a label's description has up to {_DESCRIPTION_LENGTH} characters")
    if len(color) > _COLOR_LENGTH:
        raise LabelInvalidError(f"a label's color has up to {_COLOR_LENGTH} characters, such as #0065AB")
