"""Any order of pushes, mounts, moves, deletes, HEADs and pieces of collection, with crashes between the store's writes.

On the real code and stores, beside tests/model, which explores all orders of a few. Whatever happened: every tagged
image pulls whole; what a client was told of can be pushed; and after a last run what is left is what is referenced.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chalicelib.access.authentication import Caller
from chalicelib.gc import rounds
from chalicelib.gc.records import unwatched
from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown, Referenced
from chalicelib.registry import blobs, deletion, push
from chalicelib.registry.store import manifests as manifest_table
from chalicelib.settings import settings as configured
from chalicelib.storage import reads
from tests.gc import collector
from tests.gc.conftest import HOUR, TIMES, Clock, is_whole
from tests.gc.referenced import assert_only_what_is_referenced
from tests.registry.images import CONFIG, descriptor, image, index, push_blob
from tests.registry.test_faults import Killed, killed_at

LAYERS = [os.urandom(24) for _ in range(3)]
"""The same few, so that images share them, and so do tests: what one leaves another finds."""

REPOSITORIES, TAGS = ("one", "two"), ("a", "b")


class BesideClients(RuleBasedStateMachine):
    clock: Clock
    project: str

    images = Bundle("images")

    def __init__(self) -> None:
        super().__init__()
        self.name = f"{self.project}/{os.urandom(6).hex()}"
        self.contents: dict[str, bytes] = {}
        self.about: dict[str, str] = {}
        """The subjects of those that have one."""
        self.tags: dict[tuple[str, str], str | None] = {}
        """What a tag must name; None where a crash leaves that open."""
        self.told: dict[tuple[str, bytes], int] = {}
        """Until when a client may rely on a blob that it was told of."""
        self.pages: list[rounds.Task] = []
        self.round = 0

    def repository(self, which: str) -> str:
        return f"{self.name}/{which}"

    def attempt(self, do: Callable[[], Any], crash: int) -> bool:
        """Do something, or die at its store write with the number `crash`. Whether it came to its end."""
        with killed_at(crash, "before-call" if crash % 2 else "after-call"):
            try:
                do()
            except Killed:
                return False
        return True

    def tell(self, which: str, layer: bytes) -> None:
        self.told[which, layer] = self.clock.now() + HOUR * 1000

    @rule(which=st.sampled_from(REPOSITORIES), layer=st.sampled_from(LAYERS), crash=st.integers(0, 9))
    def head_or_upload(self, which: str, layer: bytes, crash: int) -> None:
        repository, digest = self.repository(which), digests.of(layer)

        def client() -> None:
            try:
                blobs.find(repository, digest)
            except BlobUnknown:
                push_blob(repository, layer)

        if self.attempt(client, crash):
            self.tell(which, layer)

    @rule(layer=st.sampled_from(LAYERS), crash=st.integers(0, 5))
    def mount(self, layer: bytes, crash: int) -> None:
        source, target = self.repository("one"), self.repository("two")
        caller = Caller("admin", is_admin=True)
        mounted: list[bool] = []
        do = lambda: mounted.append(blobs.mount(caller, target, digests.of(layer), source))  # noqa: E731
        if self.attempt(do, crash) and mounted[0]:
            self.tell("two", layer)

    @rule(
        target=images,
        which=st.sampled_from(REPOSITORIES),
        tag=st.sampled_from(TAGS),
        layers=st.sets(st.sampled_from(LAYERS), min_size=1),
        crash=st.integers(0, 12),
    )
    def push(self, which: str, tag: str, layers: set[bytes], crash: int) -> tuple[str, str]:
        repository = self.repository(which)
        ordered = sorted(layers)
        content = image(descriptor(ordered[0], CONFIG), *map(descriptor, ordered[1:]))
        digest = digests.of(content)
        self.contents[digest] = content
        promised = all(self.told.get((which, layer), 0) > self.clock.now() for layer in layers)

        def client() -> None:
            push.manifest(repository, tag, content, manifests.OCI_MANIFEST)

        before = self.tags.get((which, tag))
        try:
            finished = self.attempt(client, crash)
        except ManifestBlobUnknown:
            assert not promised, "a client was told of a blob that its push does not find"
            return which, digest
        self.tags[which, tag] = digest if finished or before == digest else None
        return which, digest

    @rule(target=images, source=images, tag=st.none() | st.sampled_from(TAGS), crash=st.integers(0, 20))
    def push_referrer(self, source: tuple[str, str], tag: str | None, crash: int) -> tuple[str, str]:
        """An image without a tag, and something about it, whose tag keeps the collector from both."""
        which, subject = source
        repository = self.repository(which)
        about = descriptor(self.contents[subject], manifests.OCI_MANIFEST)
        content = image(descriptor(LAYERS[0], CONFIG), descriptor(LAYERS[1]), subject=about)
        digest = digests.of(content)
        self.contents[digest], self.about[digest] = content, subject

        def client() -> None:
            for layer in LAYERS:
                push_blob(repository, layer)
            push.manifest(repository, subject, self.contents[subject], manifests.OCI_MANIFEST)
            push.manifest(repository, tag or digest, content, manifests.OCI_MANIFEST)

        finished = self.attempt(client, crash)
        if tag is not None:
            self.tags[which, tag] = digest if finished or self.tags.get((which, tag)) == digest else None
        return which, digest

    def is_about(self, digest: str | None, subject: str) -> bool:
        while digest and digest != subject:
            digest = self.about.get(digest)
        return digest == subject

    @rule(source=images, tag=st.sampled_from(TAGS), crash=st.integers(0, 12))
    def push_index(self, source: tuple[str, str], tag: str, crash: int) -> None:
        which, digest = source
        content = index(self.contents[digest])
        do = lambda: push.manifest(self.repository(which), tag, content, manifests.OCI_INDEX)  # noqa: E731
        try:
            finished = self.attempt(do, crash)
        except ManifestBlobUnknown:
            return
        self.tags[which, tag] = digests.of(content) if finished else None

    @rule(source=images, crash=st.integers(0, 15))
    def delete(self, source: tuple[str, str], crash: int) -> None:
        which, digest = source
        finished = is_held = False
        try:
            finished = self.attempt(lambda: deletion.manifest(self.repository(which), digest), crash)
        except ManifestUnknown:
            return
        except Referenced:
            is_held = True  # by an index, or what is about it is: then some of that may be gone
        for (other, tag), named in list(self.tags.items()):
            if other == which and self.is_about(named, digest) and not (is_held and named == digest):
                self.tags[other, tag] = None if not finished else ""

    @rule(which=st.sampled_from(REPOSITORIES), tag=st.sampled_from(TAGS), crash=st.integers(0, 3))
    def delete_tag(self, which: str, tag: str, crash: int) -> None:
        try:
            finished = self.attempt(lambda: deletion.manifest(self.repository(which), tag), crash)
        except ManifestUnknown:
            return
        self.tags[which, tag] = "" if finished else None

    @rule(which=st.sampled_from(REPOSITORIES), layer=st.sampled_from(LAYERS), crash=st.integers(0, 5))
    def delete_blob(self, which: str, layer: bytes, crash: int) -> None:
        self.told.pop((which, layer), None)
        with contextlib.suppress(Referenced, BlobUnknown):
            self.attempt(lambda: deletion.blob(self.repository(which), digests.of(layer)), crash)

    @rule(minutes=st.sampled_from([1, 20, 70, 150]))
    def time_passes(self, minutes: int) -> None:
        self.clock.advance(minutes * 60)

    @rule(kinds=st.lists(st.sampled_from([rounds.MANIFESTS, rounds.BLOBS, rounds.CONDEMNED]), min_size=1, unique=True))
    def plan_a_round(self, kinds: list[str]) -> None:
        self.round += 1
        self.pages += rounds.plan(self.name.replace("/", "-"), self.round, kinds, TIMES)

    @rule(number=st.integers(0, 20), crash=st.integers(0, 25))
    def collect_a_page(self, number: int, crash: int) -> None:
        """Any page, planned now or long ago, for the first time or again."""
        if self.pages:
            task = self.pages[number % len(self.pages)]
            self.attempt(lambda: rounds.carry_out("", task, TIMES, unwatched), crash)

    @rule()
    def collect(self) -> None:
        tasks = list(rounds.plan(f"{self.name}-whole".replace("/", "-"), 0, [rounds.MANIFESTS, rounds.BLOBS], TIMES))
        for task in tasks:
            rounds.carry_out("", task, TIMES, unwatched)

    @invariant()
    def every_tagged_image_pulls_whole(self) -> None:
        for which in REPOSITORIES:
            repository = self.repository(which)
            table = configured().repositories_table
            for item in reads.query_all(table, repository, manifest_table.TAG_PREFIX, ("digest",)):
                tag, digest = item["sk"].removeprefix(manifest_table.TAG_PREFIX), item["digest"]
                assert self.tags.get((which, tag)) in (None, digest)
                self.assert_whole(repository, digest)
        for (which, tag), digest in self.tags.items():
            if digest:
                found = manifest_table.read_tag(self.repository(which), tag)
                assert found is not None
                assert found.digest == digest

    def assert_whole(self, repository: str, digest: str) -> None:
        if digest in self.contents:
            assert is_whole(repository, digest, self.contents[digest])
            return
        stored = manifest_table.read_stored(repository, digest)
        assert stored is not None
        assert stored.content is not None
        for child in manifests.parse(stored.content, stored.media_type).children:
            self.assert_whole(repository, child)

    def teardown(self) -> None:
        """A last run, and all that it has to do after itself: what is left is what is referenced."""
        for _ in range(3):
            self.clock.advance(3 * HOUR)
            collector.run(TIMES, sleep=self.clock.advance)
        self.every_tagged_image_pulls_whole()
        self.clock.advance(configured().upload_seconds)
        collector.run(TIMES, sleep=self.clock.advance, reconcile=True)
        self.clock.advance(3 * HOUR)
        collector.run(TIMES, sleep=self.clock.advance, reconcile=True)
        assert_only_what_is_referenced()


def test_beside_clients(project: str, clock: Clock) -> None:
    explore(project, clock, examples=4)


@pytest.mark.slow
def test_beside_clients_in_more_orders(project: str, clock: Clock) -> None:
    explore(project, clock, examples=25)


@pytest.mark.soak
def test_beside_clients_at_length(project: str, clock: Clock) -> None:
    explore(project, clock, examples=500)


def explore(project: str, clock: Clock, *, examples: int) -> None:
    """S3 dates objects by its own clock, which this one is days ahead of: the reconciliation finds them old."""
    machine = type("BesideClientsHere", (BesideClients,), {"clock": clock, "project": project})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
