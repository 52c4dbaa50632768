"""Secrets Manager: reading a secret, making and deleting one, and replacing it by a version that becomes current in a
second, conditional step.

A secret's versions are immutable and named by a client request token (32 to 64 characters), so writing one
twice is one write. Which version is read is decided by the stage label AWSCURRENT, which moves only from the
version that the caller names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chalicelib.storage.aws_json import SECRETS_MANAGER, RefusedError, call

_NOT_FOUND = "ResourceNotFoundException"
_EXISTS = "ResourceExistsException"
_LABEL_MOVED = "InvalidParameterException"

CURRENT = "AWSCURRENT"
PENDING = "AWSPENDING"


def read(name: str, version: str = "") -> str | None:
    """The text of the secret's current version, or of `version`; None when there is no such version."""
    request = {"SecretId": name, **({"VersionId": version} if version else {})}
    try:
        return str(call(SECRETS_MANAGER, "GetSecretValue", request)["SecretString"])
    except RefusedError as error:
        if error.kind == _NOT_FOUND:
            return None
        raise


def read_current(name: str) -> tuple[str, str]:
    """The id and the text of the version that is read by default. Raises RefusedError when the secret does
    not exist.
    """
    answer = call(SECRETS_MANAGER, "GetSecretValue", {"SecretId": name})
    return str(answer["VersionId"]), str(answer["SecretString"])


def stage(name: str, version: str, text: str) -> None:
    """Write `text` as the pending `version`. Nothing happens when that version was written before."""
    request = {
        "SecretId": name,
        "ClientRequestToken": version,
        "SecretString": text,
        "VersionStages": [PENDING],
    }
    try:
        call(SECRETS_MANAGER, "PutSecretValue", request)
    except RefusedError as error:
        if error.kind != _EXISTS:
            raise


def promote(name: str, version: str, over: str) -> bool:
    """Make `version` the current one if `over` still is. False when another version took its place meanwhile."""
    request = {
        "SecretId": name,
        "VersionStage": CURRENT,
        "MoveToVersionId": version,
        "RemoveFromVersionId": over,
    }
    try:
        call(SECRETS_MANAGER, "UpdateSecretVersionStage", request)
    except RefusedError as error:
        if error.kind == _LABEL_MOVED:
            return False
        raise
    return True


def write(name: str, text: str) -> None:
    """Replace the secret's current text."""
    call(SECRETS_MANAGER, "PutSecretValue", {"SecretId": name, "SecretString": text})


def create(name: str, text: str, description: str) -> None:
    """Make a secret under a name that nobody else uses: if it is there, an earlier try has made it."""
    try:
        call(SECRETS_MANAGER, "CreateSecret", {"Name": name, "SecretString": text, "Description": description})
    except RefusedError as error:
        if error.kind != _EXISTS:
            raise


def delete(name: str) -> None:
    """Delete a secret for good. Nothing happens when there is none."""
    try:
        call(SECRETS_MANAGER, "DeleteSecret", {"SecretId": name, "ForceDeleteWithoutRecovery": True})
    except RefusedError as error:
        if error.kind != _NOT_FOUND:
            raise


def list_names(prefix: str, before: float) -> Iterator[str]:
    """The names that begin with `prefix` of secrets made before the time `before`, in seconds since 1970."""
    request: dict[str, Any] = {"Filters": [{"Key": "name", "Values": [prefix]}], "MaxResults": 100}
    while True:
        answer = call(SECRETS_MANAGER, "ListSecrets", request)
        for entry in answer["SecretList"]:
            # What is looked for as a prefix is found with other case too.
            if entry["Name"].startswith(prefix) and entry["CreatedDate"] < before:
                yield str(entry["Name"])
        if not answer.get("NextToken"):
            return
        request["NextToken"] = answer["NextToken"]
