"""Usage does not drift: whatever is pushed, moved and deleted, at once and killed half-way."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown, Referenced, Unavailable
from chalicelib.projects import rules
from chalicelib.projects.store import usage
from chalicelib.registry import charges, deletion, push
from chalicelib.registry.store import blobs as blob_table
from chalicelib.storage import aws_json
from tests.registry.accounting import assert_exact, assert_summed, charged, named, used
from tests.registry.images import CONFIG, descriptor, image, push_blob, push_image
from tests.registry.test_faults import Killed, killed_at

pytestmark = pytest.mark.usefixtures("cloud")

LAYERS = [f"layer {number} ".encode() * (number + 1) for number in range(4)]
REPOSITORIES = ("a", "b")
KILLED_AT = st.none() | st.tuples(st.integers(0, 8), st.sampled_from(["before-call", "after-call"]))


class Life(RuleBasedStateMachine):
    """A project's life in two repositories that share layers; any step may be killed at any of its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.project = f"life{os.urandom(6).hex()}"
        rules.create(self.project, "admin", public=False)
        self.is_exact = True

    def run(self, act: Callable[[], object], killed: tuple[int, str] | None) -> None:
        if killed is None:
            act()
            return
        try:
            with killed_at(*killed):
                act()
        except Killed:
            self.is_exact = False

    @rule(
        repository=st.sampled_from(REPOSITORIES),
        layers=st.sets(st.integers(0, len(LAYERS) - 1)),
        tag=st.sampled_from(["v1", "v2"]),
        killed=KILLED_AT,
    )
    def push(self, repository: str, layers: set[int], tag: str, killed: tuple[int, str] | None) -> None:
        name = f"{self.project}/{repository}"
        content = image(push_blob(name, b"{}", CONFIG), *(push_blob(name, LAYERS[number]) for number in sorted(layers)))
        self.run(lambda: push.manifest(name, tag, content, manifests.OCI_MANIFEST), killed)

    @rule(repository=st.sampled_from(REPOSITORIES), layers=st.sets(st.integers(0, len(LAYERS) - 1)), killed=KILLED_AT)
    def delete(self, repository: str, layers: set[int], killed: tuple[int, str] | None) -> None:
        content = image(descriptor(b"{}", CONFIG), *(descriptor(LAYERS[number]) for number in sorted(layers)))

        def act() -> None:
            try:
                deletion.manifest(f"{self.project}/{repository}", digests.of(content))
            except ManifestUnknown:
                return

        self.run(act, killed)

    @rule(repository=st.sampled_from(REPOSITORIES), layer=st.sampled_from(LAYERS), killed=KILLED_AT)
    def delete_blob(self, repository: str, layer: bytes, killed: tuple[int, str] | None) -> None:
        def act() -> None:
            try:
                deletion.blob(f"{self.project}/{repository}", digests.of(layer))
            except (BlobUnknown, Referenced):
                return

        self.run(act, killed)

    @rule(repository=st.sampled_from(REPOSITORIES), layer=st.sampled_from(LAYERS))
    def fail(self, repository: str, layer: bytes) -> None:
        """A push that names what is not there takes back all that it did."""
        name = f"{self.project}/{repository}"
        content = image(push_blob(name, b"{}", CONFIG), push_blob(name, layer), descriptor(os.urandom(8)))
        with pytest.raises(ManifestBlobUnknown):
            push.manifest(name, "v1", content, manifests.OCI_MANIFEST)

    def teardown(self) -> None:
        assert_summed(self.project)
        if self.is_exact:
            assert_exact(self.project)
        else:  # what a crash leaves is counted too much, never too little
            assert named(self.project).items() <= charged(self.project).items()


@pytest.mark.usefixtures("cloud")
class TestLife(Life.TestCase):  # type: ignore[name-defined,misc]  # hypothesis makes it
    settings = hypothesis_settings(max_examples=6, stateful_step_count=12, deadline=None)


@pytest.mark.slow
@pytest.mark.usefixtures("cloud")
class TestManyLives(Life.TestCase):  # type: ignore[name-defined,misc]  # as above
    settings = hypothesis_settings(max_examples=25, stateful_step_count=12, deadline=None)


@pytest.mark.parametrize("moment", ["before-call", "after-call"])
def test_a_push_killed_at_any_write_counts_nothing_or_all(project: str, repository: str, moment: str) -> None:
    number, finished = 0, False
    while not finished:
        name = f"{repository}{number}"
        content = image(push_blob(name, os.urandom(16), CONFIG), push_blob(name, os.urandom(64)))
        with killed_at(number, moment):
            try:
                push.manifest(name, "v1", content, manifests.OCI_MANIFEST)
                finished = True
            except Killed:
                pass
        assert_exact(project)
        number += 1
    assert number > 1


@pytest.mark.parametrize("moment", ["before-call", "after-call"])
def test_a_delete_killed_at_any_write_counts_never_too_little(project: str, repository: str, moment: str) -> None:
    number, finished = 0, False
    while not finished:
        digest, _ = push_image(repository, "v1")
        with killed_at(number, moment):
            try:
                deletion.manifest(repository, digest)
                finished = True
            except Killed:
                pass
        assert named(project).items() <= charged(project).items()
        assert_summed(project)
        number += 1
    assert number > 5


def test_pushes_and_deletes_at_once_of_images_that_share_layers(project: str, repository: str) -> None:
    shared = [os.urandom(40) for _ in range(3)]

    def work(worker: int) -> None:
        random_of = random.Random(worker)
        for _ in range(6):
            name = f"{repository}{random_of.randrange(2)}"
            config, layer = push_blob(name, shared[0], CONFIG), push_blob(name, shared[random_of.randrange(1, 3)])
            content = image(config, layer)
            try:
                push.manifest(name, "v1", content, manifests.OCI_MANIFEST)
                if random_of.random() < 0.6:
                    deletion.manifest(name, digests.of(content))
            except (ManifestUnknown, Unavailable):
                continue  # others were faster, or all too many

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert_exact(project)


class _At:
    """Does something once, just before the call of this number of an operation of the lean reader."""

    def __init__(self, operation: str, number: int, act: Callable[[], None]) -> None:
        self.event, self.number, self.act, self.done = f"before-call.dynamodb.{operation}", number, act, False

    def __enter__(self) -> Self:
        aws_json.events.register(self.event, self._count)
        return self

    def __exit__(self, *_: object) -> None:
        aws_json.events.unregister(self.event, self._count)

    def _count(self, **_: object) -> None:
        self.number -= 1
        if self.number < 0 and not self.done:
            self.done = True
            self.act()


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("operation", ["Query", "BatchGetItem"])
def test_a_push_between_any_two_reads_of_a_delete(project: str, repository: str, operation: str, number: int) -> None:
    """The push names what the delete is about to free: it is charged in the end, exactly once."""
    config, layer = os.urandom(16), os.urandom(40)
    old = image(push_blob(repository, config, CONFIG), push_blob(repository, layer))
    push.manifest(repository, "v1", old, manifests.OCI_MANIFEST)

    def again() -> None:
        other = f"{repository}-other"
        new = image(push_blob(other, config, CONFIG), push_blob(other, layer), annotations={"n": "1"})
        push.manifest(other, "v1", new, manifests.OCI_MANIFEST)

    with _At(operation, number, again) as at:
        deletion.manifest(repository, digests.of(old))
    if not at.done:
        again()
    assert digests.of(layer) in charged(project)
    assert_exact(project)


@pytest.mark.parametrize("number", range(3))
def test_a_delete_between_the_reads_of_a_push(project: str, repository: str, number: int) -> None:
    config, layer = os.urandom(16), os.urandom(40)
    old = image(push_blob(repository, config, CONFIG), push_blob(repository, layer))
    push.manifest(repository, "v1", old, manifests.OCI_MANIFEST)
    other = f"{repository}-other"
    new = image(push_blob(other, config, CONFIG), push_blob(other, layer), annotations={"n": "1"})
    with _At("BatchGetItem", number, lambda: deletion.manifest(repository, digests.of(old))) as at:
        push.manifest(other, "v1", new, manifests.OCI_MANIFEST)
    if not at.done:
        deletion.manifest(repository, digests.of(old))
    assert_exact(project)


def test_a_mark_that_a_killed_delete_left_is_taken_away_by_the_next_push(project: str, repository: str) -> None:
    number = rules.get(project).project_id
    layer = push_blob(repository, os.urandom(40))
    push.manifest(repository, "v1", image(push_blob(repository, b"{}", CONFIG), layer), manifests.OCI_MANIFEST)
    [charge] = usage.read_charges(number, [layer["digest"]]).values()
    mark = usage.mark_freeing(number, charge)
    push.manifest(repository, "v2", image(push_blob(repository, b"[]", CONFIG), layer), manifests.OCI_MANIFEST)
    assert not usage.free(number, charge, mark)
    assert not usage.read_charges(number, [layer["digest"]])[layer["digest"]].freeing
    assert_exact(project)


def test_a_failed_push_frees_what_a_delete_left_to_it(project: str, repository: str) -> None:
    """The delete saw the push's young edge, and so freed nothing."""
    layer, config = push_blob(repository, os.urandom(40)), push_blob(repository, os.urandom(16), CONFIG)
    digest = push.manifest(repository, "v1", image(config, layer), manifests.OCI_MANIFEST).digest
    failing = image(config, layer, descriptor(os.urandom(8)))
    with (
        _At("BatchGetItem", 0, lambda: deletion.manifest(repository, digest)),
        pytest.raises(ManifestBlobUnknown),
    ):
        push.manifest(repository, "v2", failing, manifests.OCI_MANIFEST)
    assert charged(project) == {}
    assert used(project) == 0


def test_an_unlimited_project_meets_few_conflicts(project: str, repository: str) -> None:
    """Pushes to repositories of their own share nothing but the totals, of which each takes any one."""
    contents = [image(push_blob(f"{repository}{n}", os.urandom(16), CONFIG)) for n in range(40)]

    def put(number: int) -> None:
        push.manifest(f"{repository}{number}", "v1", contents[number], manifests.OCI_MANIFEST)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, range(len(contents))))
    totals = usage.read_totals([rules.get(project).project_id]).popitem()[1]
    assert sum(total.changes for total in totals) == len(contents)
    assert max(total.changes for total in totals) < len(contents) // 2
    assert_exact(project)


def test_an_edge_that_an_old_push_left_holds_nothing(project: str, repository: str) -> None:
    """It belongs to no commit, and is older than a push may take."""
    layer = push_blob(repository, os.urandom(40))
    digest = push.manifest(
        repository, "v1", image(push_blob(repository, b"{}", CONFIG), layer), manifests.OCI_MANIFEST
    ).digest
    blob_table.write_edges([blob_table.Edge(layer["digest"], repository, "sha256:" + "0" * 64, "abandoned", 1)])
    deletion.manifest(repository, digest)
    assert charged(project) == {}
    charges.free(repository, [layer["digest"]])  # once more does nothing
    assert used(project) == 0
