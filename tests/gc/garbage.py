"""Much garbage at once, as a run finds it that comes after one that was stopped."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from chalicelib.gc.store import blobs as collection
from chalicelib.oci import digests
from chalicelib.registry.store.blobs import BLOB, CONDEMNED
from chalicelib.storage import blobstore
from chalicelib.storage.conditions import new_id, now
from chalicelib.storage.tables.blobs import BlobItem
from chalicelib.storage.tables.keys import shard

AGE_MS = 5 * 3_600_000


def condemned(count: int) -> dict[str, str]:
    """Write blobs that were condemned hours ago and are named by nothing: object keys by digest."""
    blobs = {digests.of(content): content for content in (os.urandom(20) for _ in range(count))}
    keys = {digest: blobstore.blob_key() for digest in blobs}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda digest: blobstore.put(keys[digest], blobs[digest]), blobs))
    since = now() - AGE_MS
    with BlobItem.batch_write() as batch:
        for digest, key in keys.items():
            batch.save(
                BlobItem(
                    digest, BLOB, object_key=key, size=20, state=CONDEMNED, version=new_id(), created=since,
                    candidate=shard(digest), candidate_since=since,
                )
            )  # fmt: skip
    return keys


def standing(digests: Iterable[str]) -> set[str]:
    """Those whose records are there."""
    return {blob.digest for blob in collection.read_blobs(digests)}
