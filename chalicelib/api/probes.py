"""Whether each store answers: one cheap call to each, for the health report."""

from __future__ import annotations

from chalicelib.settings import settings
from chalicelib.storage import reads, s3, secrets
from chalicelib.storage.reads import Key


def database() -> None:
    """Raises when DynamoDB does not answer for the projects table."""
    reads.get_item(Key(settings().projects_table, "health", "health"))


def storage() -> None:
    """Raises when S3 does not answer for the bucket."""
    s3.call("HeadBucket", "HEAD", "")


def signing_key() -> None:
    """Raises when Secrets Manager does not hand out the signing key."""
    secrets.read_current(settings().signing_secret)
