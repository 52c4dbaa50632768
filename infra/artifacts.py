"""The bucket that code and templates are uploaded to before CloudFormation reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError


@dataclass(frozen=True)
class Artifacts:
    """A private bucket of an account and region. Keys are digests of what they hold, so nothing is ever overwritten."""

    s3: Any
    bucket: str

    def url(self, key: str) -> str:
        """The address of `key`, as CloudFormation takes a template's: path-style, on AWS and on MiniStack."""
        return f"{self.s3.meta.endpoint_url}/{self.bucket}/{key}"

    def upload(self, files: Mapping[str, bytes]) -> None:
        """Put in place what is missing of `files`, and the bucket."""
        if not self._found(self.s3.head_bucket):
            self._create()
        for key, content in files.items():
            if not self._found(self.s3.head_object, Key=key):
                self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def _found(self, head: Any, **request: str) -> bool:
        try:
            head(Bucket=self.bucket, **request)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return True

    def _create(self) -> None:
        region = self.s3.meta.region_name
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.s3.create_bucket(Bucket=self.bucket, **place)
        blocked = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        self.s3.put_public_access_block(Bucket=self.bucket, PublicAccessBlockConfiguration=dict.fromkeys(blocked, True))
