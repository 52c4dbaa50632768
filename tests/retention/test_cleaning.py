"""What a policy makes of one repository: a dry run says what the run does."""

from __future__ import annotations

import os
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from chalicelib.oci import accessories, digests, manifests
from chalicelib.projects import immutability
from chalicelib.projects import rules as projects
from chalicelib.registry import listings, push
from chalicelib.registry.store import manifests as table
from chalicelib.registry.store import pulls
from chalicelib.retention import cleaning, decisions, rules, survey
from chalicelib.storage.conditions import now
from tests.api.test_retention import verdicts
from tests.jobs.support import rule
from tests.registry.images import CONFIG, descriptor, image, index, push_blob

pytestmark = pytest.mark.usefixtures("cloud")


def put(repository: str, content: bytes, tag: str = "", media_type: str = manifests.OCI_MANIFEST) -> str:
    return push.manifest(repository, tag or digests.of(content), content, media_type).digest


def some_image(repository: str, **more: Any) -> bytes:
    return image(push_blob(repository, os.urandom(16), CONFIG), push_blob(repository, os.urandom(16)), **more)


def clean(repository: str, *documents: dict[str, Any], is_dry_run: bool) -> dict[str, str]:
    """The verdict on each artifact, by its digest."""
    project = projects.get(repository.partition("/")[0])
    policy = rules.checked(list(documents))
    return verdicts(cleaning.clean(project, repository, policy, is_dry_run=is_dry_run).log)


def test_an_index_is_used_when_a_child_is_pulled(repository: str) -> None:
    """A node that is pinned to its platform's image pulls that alone (goharbor/harbor#22390)."""
    child = some_image(repository)
    put(repository, child)
    middle = index(child)
    put(repository, middle, media_type=manifests.OCI_INDEX)
    outer = put(repository, index(middle), "old", manifests.OCI_INDEX)
    put(repository, some_image(repository), "new")
    later = now() + 2000
    for moment, digest in ((later - 1000, outer), (later, digests.of(child))):
        pulled(repository, digest, moment)
    [found] = [each for each in survey.of(repository).candidates if each.digest == outer]
    assert found.pulled == later
    assert {digest for digest, _ in found.dependents} == {digests.of(child), digests.of(middle)}


def keep_fixed_tags(project: str) -> None:
    """Make `fixed*` immutable tags, unless they are."""
    found = projects.get(project)
    if not found.immutable_rules:
        scope = [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
        tags = [{"kind": "doublestar", "decoration": "matches", "pattern": "fixed*"}]
        selectors = {"scope_selectors": {"repository": scope}, "tag_selectors": tags}
        immutability.create(found, {"disabled": False, **selectors})


def pulled(repository: str, digest: str, moment: int) -> None:
    pulls.set_times(repository, digest, moment, {})


MIXES = given(
    named=st.lists(st.sets(st.integers(0, 20), min_size=1, max_size=3), max_size=5),
    subjects=st.lists(st.integers(0, 20), max_size=4),
    listings=st.lists(st.tuples(st.integers(0, 20), st.sets(st.integers(0, 20), max_size=2)), max_size=2),
    tags=st.lists(st.sampled_from(["", "", "drop", "drop", "keep", "fixed"]), min_size=16, max_size=16),
)


def assert_a_dry_run_says_what_the_run_does(
    project: str,
    named: list[set[int]],
    subjects: list[int],
    listings: list[tuple[int, set[int]]],
    tags: list[str],
) -> None:
    """Images, indexes of all before them, accessories (indexes may name those too), indexes under a referrers tag."""
    repository = f"{project}/{uuid.uuid4().hex}"
    keep_fixed_tags(project)
    contents: list[bytes] = []

    def add(content: bytes, media_type: str, tag: str = "") -> None:
        number = len(contents)
        put(repository, content, tag or (f"{tags[number]}{number}" if tags[number] else ""), media_type)
        contents.append(content)

    def some(numbers: set[int]) -> list[bytes]:
        return [contents[each] for each in sorted({number % len(contents) for number in numbers})]

    for _ in range(3):
        add(some_image(repository), manifests.OCI_MANIFEST)
    for number in subjects:
        add(some_image(repository, subject=descriptor(some({number})[0])), manifests.OCI_MANIFEST)
    for members in named:
        add(index(*some(members), annotations={"number": str(len(contents))}), manifests.OCI_INDEX)
    for number, members in listings:
        subject = accessories.fallback_tag(digests.of(some({number})[0]))
        add(index(*some(members), annotations={"number": str(len(contents))}), manifests.OCI_INDEX, subject)
    told = clean(repository, rule(tags="keep*"), is_dry_run=True)
    assert clean(repository, rule(tags="keep*"), is_dry_run=False) == told
    there = table.read_records(repository, [digests.of(content) for content in contents])
    assert told.keys() & there.keys() == {digest for digest, verdict in told.items() if verdict == cleaning.RETAINED}
    again = clean(repository, rule(tags="keep*"), is_dry_run=True)
    assert cleaning.DELETED not in again.values(), "one run comes to the end"


@MIXES
@example_settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_dry_run_says_what_the_run_does(project: str, **mix: Any) -> None:
    assert_a_dry_run_says_what_the_run_does(project, **mix)


@pytest.mark.slow
@MIXES
@example_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_many_mixes_a_dry_run_says_what_the_run_does(project: str, **mix: Any) -> None:
    assert_a_dry_run_says_what_the_run_does(project, **mix)


def test_a_dry_run_knows_of_an_accessory_that_must_stay(project: str, repository: str) -> None:
    subject = some_image(repository)
    put(repository, subject, "drop")
    about = {"subject": descriptor(subject, manifests.OCI_MANIFEST), "artifactType": "application/example"}
    put(repository, some_image(repository, **about), "fixed")
    keep_fixed_tags(project)
    for is_dry_run in (True, False):
        found = clean(repository, rule(tags="keep*"), is_dry_run=is_dry_run)
        assert found[digests.of(subject)] == cleaning.RETAINED


def test_an_index_under_a_referrers_tag_is_no_artifact_of_its_own(repository: str) -> None:
    """Signed images that were copied from a registry without the referrers API: v2 and its index, and so on."""
    images = [some_image(repository) for _ in range(3)]
    for number, content in enumerate(images):
        put(repository, content, f"v{number}")
        signature = some_image(repository, subject=descriptor(content))
        put(repository, signature)
        put(repository, index(signature), accessories.fallback_tag(digests.of(content)), manifests.OCI_INDEX)
    newest = rule("latestPushedK", number=2)
    verdict = {digests.of(content): cleaning.RETAINED for content in images} | {digests.of(images[0]): cleaning.DELETED}
    assert clean(repository, newest, is_dry_run=True) == verdict
    assert clean(repository, newest, is_dry_run=False) == verdict
    assert listings.tags(repository, "", 10).entries == sorted(
        ["v1", "v2", *(accessories.fallback_tag(digests.of(content)) for content in images[1:])]
    )


def test_what_was_pulled_since_the_look_stays_if_rules_go_by_pulls(
    repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = some_image(repository)
    put(repository, child)
    whole = put(repository, index(child), "v1", manifests.OCI_INDEX)
    decide = decisions.plan

    def decide_beside_a_pull(*arguments: Any) -> decisions.Plan:
        pulled(repository, digests.of(child), now())
        return decide(*arguments)

    monkeypatch.setattr(decisions, "plan", decide_beside_a_pull)
    assert clean(repository, rule("latestPulledN", number=0), is_dry_run=False) == {whole: cleaning.RETAINED}
    assert clean(repository, rule("latestPushedK", number=0), is_dry_run=False) == {whole: cleaning.DELETED}


def test_what_follows_an_artifact_and_was_pushed_since_the_look_stays(
    repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = some_image(repository)
    put(repository, child)
    put(repository, index(child), "v1", manifests.OCI_INDEX)
    decide = decisions.plan

    def decide_beside_a_push(*arguments: Any) -> decisions.Plan:
        put(repository, child)
        return decide(*arguments)

    monkeypatch.setattr(decisions, "plan", decide_beside_a_push)
    clean(repository, rule("nothing"), is_dry_run=False)
    assert table.read_record(repository, digests.of(child)) is not None
