"""The sparse index `candidates` of the Blobs and the Repositories table: what may be garbage, the oldest first.

It lags behind the table, so what it says is only where to look: whoever acts reads the item itself again.
"""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.settings import settings
from chalicelib.storage import aws_json
from chalicelib.storage.tables.keys import CANDIDATE_SHARDS, MANIFEST_PREFIX

INDEX = "candidates"


def blobs(before: int) -> Iterator[str]:
    """The digests of blobs that became candidates, or were condemned, before a time (milliseconds since 1970)."""
    for pk, _ in _all(settings().blobs_table, before):
        yield pk


def manifests(before: int) -> Iterator[tuple[str, str]]:
    """Repository and digest of the manifests that became candidates before a time (milliseconds since 1970)."""
    for pk, sk in _all(settings().repositories_table, before):
        yield pk, sk.removeprefix(MANIFEST_PREFIX)


def _all(table: str, before: int) -> Iterator[tuple[str, str]]:
    """The keys of every shard's items: a page is read when it is come to."""
    for shard in range(CANDIDATE_SHARDS):
        request = {
            "TableName": table,
            "IndexName": INDEX,
            "KeyConditionExpression": "candidate = :shard AND candidate_since < :before",
            "ExpressionAttributeValues": {":shard": {"S": str(shard)}, ":before": {"N": str(before)}},
        }
        while True:
            answer = aws_json.call(aws_json.DYNAMODB, "Query", request)
            for item in answer["Items"]:
                yield item["pk"]["S"], item["sk"]["S"]
            if "LastEvaluatedKey" not in answer:
                break
            request = {**request, "ExclusiveStartKey": answer["LastEvaluatedKey"]}
