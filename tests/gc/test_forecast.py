"""A dry run: it tells what the run then does, and changes nothing."""

from __future__ import annotations

import pytest

from chalicelib.gc import collector
from chalicelib.registry import deletion, manifests, push
from tests.gc.conftest import HOUR, TIMES, Collect, push_by_digest
from tests.registry.images import descriptor, index, push_blob, push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("cloud")

READS = {"Query", "BatchGetItem", "GetItem", "GetObject"}
NOTES = {("s3", "PutObject"), ("s3", "ListObjectsV2"), ("s3", "DeleteObjects")}
"""What a dry run writes down of its own work, and drops."""


@pytest.mark.parametrize("untagged", [True, False])
def test_the_run_does_what_was_foretold(
    repository: str, other_repository: str, collect: Collect, untagged: bool
) -> None:
    clock = collect.clock
    subject, content = push_image(repository, "moved")
    push_image(repository, "moved")
    push_by_digest(repository, subject=descriptor(content, manifests.OCI_MANIFEST))
    children = [push_by_digest(repository) for _ in range(2)]
    push.manifest(repository, "index", index(*children), manifests.OCI_INDEX)
    push.manifest(repository, "child", children[0], manifests.OCI_MANIFEST)
    deletion.manifest(repository, "index")
    digest, _ = push_image(other_repository)
    deletion.manifest(other_repository, digest)
    push_blob(other_repository, b"never named, and of this size")
    clock.advance(3 * HOUR)
    with counted() as calls:
        foretold = collector.foretell(TIMES, delete_untagged=untagged)
    assert {operation for _, operation in set(calls) - NOTES} <= READS
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    done = collector.run(TIMES, delete_untagged=untagged, sleep=sleep)
    names = ("purged_blobs", "purged_manifests", "freed_space")
    assert [getattr(foretold.tally, name) for name in names] == [getattr(done, name) for name in names]
    assert done.purged_manifests == (4 if untagged else 0)
    assert foretold.waits == pytest.approx(sum(waits), abs=20)
    assert subject != digest


def test_nothing_is_foretold_of_a_registry_without_garbage(repository: str, collect: Collect) -> None:
    push_image(repository)
    collect()
    foretold = collector.foretell(TIMES, delete_untagged=True)
    assert foretold.tally.to_json() == {}
    assert foretold.waits == 0
