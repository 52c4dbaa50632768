"""Whole tables, a segment at a time: for passes that run seldom and must see everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.registry.store.blobs import BLOB, EDGE_PREFIX, LINK_PREFIX, Edge, to_edge
from chalicelib.registry.store.manifests import object_key
from chalicelib.settings import settings
from chalicelib.storage import aws_json
from chalicelib.storage.reads import Item, decode_item
from chalicelib.storage.tables.keys import MANIFEST_PREFIX

SEGMENTS = 8
"""Each is gone through by one task, within the life of a Lambda; an empty one costs a few calls."""


@dataclass(frozen=True)
class Page:
    """What a page of the Blobs table holds; a digest's record comes before its links, maybe a page before."""

    records: Mapping[str, str]
    """Object keys by digest."""
    edges: Sequence[Edge]
    links: Sequence[tuple[str, str, str]]
    """Repository, digest and object key."""


def blobs_table(segment: int) -> Iterator[Page]:
    for items in _scan(settings().blobs_table, segment, ("object_key", "created")):
        yield Page(
            {item["pk"]: item["object_key"] for item in items if item["sk"] == BLOB},
            [to_edge(item) for item in items if item["sk"].startswith(EDGE_PREFIX)],
            [
                (item["sk"].removeprefix(LINK_PREFIX), item["pk"], item["object_key"])
                for item in items
                if item["sk"].startswith(LINK_PREFIX)
            ],
        )


def large_manifests(segment: int) -> Iterator[list[str]]:
    """Of each page of a segment: object keys of the manifests whose bytes S3 keeps."""
    filtered = {
        "FilterExpression": "begins_with(sk, :manifest) AND attribute_not_exists(content)",
        "ExpressionAttributeValues": {":manifest": {"S": MANIFEST_PREFIX}},
    }
    for items in _scan(settings().repositories_table, segment, ("generation",), filtered):
        yield [object_key(item["generation"]) for item in items]


def sessions() -> Iterator[list[str]]:
    """Of each page of the whole Uploads table: the objects that its sessions have, or will have."""
    attributes = ("object_key", "tail_key")
    for items in _scan(settings().uploads_table, 0, attributes, segments=1):
        yield [item[name] for item in items for name in attributes if name in item]


def _scan(
    table: str,
    segment: int,
    attributes: Sequence[str],
    more: dict[str, Any] | None = None,
    segments: int = SEGMENTS,
) -> Iterator[list[Item]]:
    request: dict[str, Any] = {
        "TableName": table,
        "Segment": segment,
        "TotalSegments": segments,
        "ConsistentRead": True,
        "ProjectionExpression": ",".join(("pk", "sk", *attributes)),
        **(more or {}),
    }
    while True:
        answer = aws_json.call(aws_json.DYNAMODB, "Scan", request)
        yield [decode_item(item) for item in answer["Items"]]
        if "LastEvaluatedKey" not in answer:
            return
        request = {**request, "ExclusiveStartKey": answer["LastEvaluatedKey"]}
