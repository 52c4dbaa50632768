"""What a policy makes of one repository: a dry run says what the run does."""

from __future__ import annotations

import os
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from chalicelib.projects import immutability
from chalicelib.projects import rules as projects
from chalicelib.registry import digests, manifests, push
from chalicelib.retention import candidates, cleaning, rules
from chalicelib.storage import pulls
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
    [found] = [each for each in candidates.read(repository) if each.digest == outer]
    assert found.pulled == later
    assert set(found.dependents) == {digests.of(child), digests.of(middle)}


def pulled(repository: str, digest: str, moment: int) -> None:
    pulls.set_times(repository, digest, moment, {})


@given(
    named=st.lists(st.sets(st.integers(0, 3), min_size=1), max_size=3),
    tagged=st.sets(st.integers(0, 6)),
    retained=st.sets(st.integers(0, 6)),
)
@example_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_dry_run_says_what_the_run_does(
    project: str, named: list[set[int]], tagged: set[int], retained: set[int]
) -> None:
    repository = f"{project}/{uuid.uuid4().hex}"
    contents = [some_image(repository) for _ in range(4)]
    for number, content in enumerate(contents):
        put(repository, content, _tag(number, tagged, retained))
    for number, members in enumerate(named, len(contents)):
        parent = index(*(contents[each] for each in sorted(members)), annotations={"number": str(number)})
        put(repository, parent, _tag(number, tagged, retained), manifests.OCI_INDEX)
    told = clean(repository, rule(tags="keep*"), is_dry_run=True)
    assert clean(repository, rule(tags="keep*"), is_dry_run=False) == told
    left = {each.digest for each in candidates.read(repository)}
    assert {digest for digest, verdict in told.items() if verdict == cleaning.RETAINED} <= left


def _tag(number: int, tagged: set[int], retained: set[int]) -> str:
    if number not in tagged:
        return ""
    return f"{'keep' if number in retained else 'drop'}{number}"


def test_a_dry_run_knows_of_an_accessory_that_must_stay(project: str, repository: str) -> None:
    subject = some_image(repository)
    put(repository, subject, "drop")
    about = {"subject": descriptor(subject, manifests.OCI_MANIFEST), "artifactType": "application/example"}
    put(repository, some_image(repository, **about), "signed")
    immutability.create(
        projects.get(project),
        {
            "disabled": False,
            "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
            "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "signed"}],
        },
    )
    for is_dry_run in (True, False):
        found = clean(repository, rule(tags="keep*"), is_dry_run=is_dry_run)
        assert found[digests.of(subject)] == cleaning.RETAINED
