"""Whether each store answers: one cheap call to each, for the health report."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from chalicelib.settings import settings
from chalicelib.storage import reads, secrets
from chalicelib.storage.reads import Key


def database() -> None:
    """Raises when DynamoDB does not answer for the projects table."""
    reads.get_item(Key(settings().projects_table, "health", "health"))


def storage() -> None:
    """Raises when S3 does not answer for the bucket."""
    _s3().head_bucket(Bucket=settings().bucket)


def signing_key() -> None:
    """Raises when Secrets Manager does not hand out the signing key."""
    secrets.read_current(settings().signing_secret)


@cache
def _s3() -> Any:
    limits = {"connect_timeout": 2, "read_timeout": 3, "retries": {"total_max_attempts": 2}}
    return boto3.client("s3", config=Config(s3={"addressing_style": "path"}, **limits))
