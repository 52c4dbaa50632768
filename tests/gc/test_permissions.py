"""The collector needs no more than its policy gives: MiniStack does not ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chalicelib.oci import digests, manifests
from chalicelib.registry import deletion, push, push_plan, uploads
from chalicelib.registry.upload_writer import Writer
from chalicelib.settings import settings
from chalicelib.storage import aws_json, blobstore
from infra.policies import collector_statements
from tests.gc import collector
from tests.gc.conftest import HOUR, TIMES, Collect
from tests.infra import iam
from tests.infra.test_policies import S3_ACTIONS, actions_under_prefixes
from tests.registry.images import CONFIG, image, push_blob, push_image


@contextmanager
def objects_recorded() -> Iterator[set[tuple[str, str]]]:
    """Prefix and IAM action of the calls on objects meanwhile; of a DeleteObjects the call does not say which."""
    called: set[tuple[str, str]] = set()

    def note(model: str, params: dict[str, Any], **_: Any) -> None:
        if params["Key"]:
            called.add((params["Key"].partition("/")[0], S3_ACTIONS.get(model, model)))

    aws_json.events.register("before-call.s3.*", note)
    try:
        yield called
    finally:
        aws_json.events.unregister("before-call.s3.*", note)


def test_everything_that_a_run_does(cloud: dict[str, str], repository: str, collect: Collect) -> None:
    digest, _ = push_image(repository, "v1")
    deletion.manifest(repository, digest)
    config = push_blob(repository, os.urandom(16), CONFIG)
    large = image(config, annotations={"large": "x" * push_plan.INLINE_LIMIT})
    push.manifest(repository, digests.of(large), large, manifests.OCI_MANIFEST)
    blobstore.put(blobstore.blob_key(), b"stray")
    writer = Writer(uploads.start(repository))
    writer.send(0, os.urandom(writer.buffer_size(0)))
    writer.append(1, b"tail")
    collect.clock.advance(settings().upload_seconds + 3 * HOUR)
    with iam.recorded() as called, objects_recorded() as objects:
        tally = collector.run(TIMES, sleep=collect.clock.advance, reconcile=True)
    assert min(tally.purged_blobs, tally.purged_manifests, tally.purged_objects, tally.purged_uploads) > 0
    assert called <= iam.actions_of(collector_statements(), cloud)
    granted = actions_under_prefixes(collector_statements())
    assert all(action in granted[f"${{Bucket}}/{prefix}/*"] for prefix, action in objects)
    assert {("blobs", "AbortMultipartUpload"), ("manifests", "GetObject"), ("uploads", "DeleteObject")} <= objects
