"""An account and region, of AWS or of MiniStack, and what of a stack's stores is there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from infra.artifacts import Artifacts
from infra.resources import STORE_NAMES
from infra.stack import Stores


class Cloud:
    """The clients of one session, each made when it is first used, since that costs 0.2 s."""

    def __init__(self, session: Any, endpoint_url: str | None = None) -> None:
        self._session = session
        self._endpoint_url = endpoint_url

    def client(self, service: str, **options: Any) -> Any:
        return self._session.client(service, endpoint_url=self._endpoint_url, **options)

    @cached_property
    def cloudformation(self) -> Any:
        return self.client("cloudformation")

    @cached_property
    def s3(self) -> Any:
        return self.client("s3", config=Config(s3={"addressing_style": "path"}))

    @cached_property
    def account(self) -> str:
        """The twelve digits. Raises BotoCoreError or ClientError without valid credentials."""
        return str(self.client("sts").get_caller_identity()["Account"])

    @cached_property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.s3, f"berth-artifacts-{self.account}-{self._session.region_name}")

    def stores(self, stack: str) -> Stores:
        """Those of the stack's tables and its bucket that exist, by logical id."""
        dynamodb = self.client("dynamodb")
        found: dict[str, Mapping[str, str]] = {}
        for logical_id, pattern in STORE_NAMES.items():
            name = self._resolve(pattern, stack)
            if logical_id == "Bucket":
                if _exists(self.s3.head_bucket, Bucket=name):
                    found[logical_id] = {"BucketName": name}
            elif _exists(dynamodb.describe_table, TableName=name):
                found[logical_id] = {"TableName": name}
        return found

    def _resolve(self, pattern: str, stack: str) -> str:
        values = {"StackName": stack, "AccountId": self.account, "Region": self._session.region_name}
        for name, value in values.items():
            pattern = pattern.replace(f"${{AWS::{name}}}", value)
        return pattern


def _exists(ask: Any, **request: str) -> bool:
    """Whether `ask` finds it. Raises ClientError for any other answer than yes and no."""
    try:
        ask(**request)
    except ClientError as error:
        missing = error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        if missing or error.response["Error"]["Code"] == "ResourceNotFoundException":
            return False
        raise
    return True
