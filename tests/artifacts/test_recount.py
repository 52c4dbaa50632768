"""The recount of usage: it mends what crashes and older versions left, beside pushes, and goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from chalicelib.artifacts import recount
from chalicelib.artifacts import store as recounts
from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import QuotaExceeded
from chalicelib.projects import quotas, rules
from chalicelib.projects.errors import NotFoundError
from chalicelib.projects.records import Project
from chalicelib.projects.store import usage
from chalicelib.registry import charges, deletion, push, push_plan
from chalicelib.registry.store import blobs as blob_table
from chalicelib.storage.conditions import now
from chalicelib.storage.transactions import transact
from infra.policies import recount_statements
from tests.infra import iam
from tests.registry.accounting import assert_exact, charged, named, used
from tests.registry.images import CONFIG, image, index, push_blob, push_image
from tests.registry.test_faults import Killed, killed_at

pytestmark = pytest.mark.usefixtures("cloud")


def always() -> bool:
    return True


def done(name: str) -> recount.Recount:
    [report] = recount.run(name, always)
    return recount.Recount(**report)


def forget_usage(project: Project) -> None:
    """As an older version left it: no charges, no totals, no edges of manifests onto themselves."""
    for digest, repository in ((digest, f"{project.name}/{each}") for digest in charged(project.name) for each in "ab"):
        target = charges.charge_edge_key(repository, digest)
        blob_table.delete_edges(blob_table.edges_in_project(target, project.name))
    usage.delete_all(project.project_id)


def images(project: str) -> list[str]:
    """Two repositories that share an image, an index, and a manifest that S3 keeps."""
    config, layer = os.urandom(16), os.urandom(50)
    pushed = []
    for name in (f"{project}/a", f"{project}/b"):
        content = image(push_blob(name, config, CONFIG), push_blob(name, layer))
        pushed.append(push.manifest(name, "v1", content, manifests.OCI_MANIFEST).digest)
    push.manifest(f"{project}/a", "both", index(content), manifests.OCI_INDEX)
    large = image(push_blob(f"{project}/b", config, CONFIG), annotations={"large": "x" * push_plan.INLINE_LIMIT})
    push.manifest(f"{project}/b", "large", large, manifests.OCI_MANIFEST)
    return pushed


def test_what_is_exact_stays_and_is_reported(project: str) -> None:
    images(project)
    before = used(project)
    report = done(project)
    assert (report.before, report.after) == (before, before)
    assert (report.charged, report.freed, report.corrected, report.is_settled) == (0, 0, 0, True)
    stored = recounts.read(rules.get(project).project_id)
    assert stored["project"] == project
    assert 0 < stored["started"] <= stored["finished"]
    assert_exact(project)


def test_a_project_of_an_older_version_is_counted(project: str, repository: str) -> None:
    images(project)
    sizes = named(project)
    forget_usage(rules.get(project))
    assert used(project) == 0
    push_image(repository, "new")  # which works before the recount
    late = used(project)
    report = done(project)
    assert (report.before, report.charged, report.after) == (late, sum(sizes.values()), late + sum(sizes.values()))
    assert_exact(project)


def test_a_manifest_of_an_older_version_counts_until_its_last_repository_is_rid_of_it(project: str) -> None:
    digest, _ = images(project)
    forget_usage(rules.get(project))
    done(project)
    deletion.manifest(f"{project}/b", digest)
    assert digest in charged(project)
    assert_exact(project)


def test_a_limit_of_an_older_project_counts_from_the_recount_on(project: str, repository: str) -> None:
    images(project)
    forget_usage(rules.get(project))
    quotas.set_limit(rules.get(project).project_id, 1000)
    done(project)  # it is over the limit then, as when a limit was lowered
    assert_exact(project)
    with pytest.raises(QuotaExceeded):
        push_image(repository, "new")


def test_what_killed_deletes_left_is_freed(project: str, repository: str) -> None:
    for number in range(12):
        digest, _ = push_image(f"{repository}{number}", "v1")
        with killed_at(number, "before-call"):
            try:
                deletion.manifest(f"{repository}{number}", digest)
            except Killed:
                continue
    left = sum(charged(project).values()) - sum(named(project).values())
    assert left > 0
    age_edges(project)
    report = done(project)
    assert report.freed == left
    assert_exact(project)


def age_edges(project: str) -> None:
    """Edges that killed pushes and deletes left hold nothing once a push would be over."""
    for digest in charged(project):
        for target in (digest, f"{project}@{digest}"):
            edges = blob_table.edges_in_project(target, project)
            blob_table.write_edges(blob_table.Edge(*list(vars(edge).values())[:4], 1) for edge in edges)


def test_totals_that_are_wrong_are_corrected(project: str, repository: str) -> None:
    push_image(repository, "v1")
    found = rules.get(project)
    quotas.set_limit(found.project_id, 1 << 20)
    wrong = usage.Adjustment(3, 777, 55)
    assert transact(lambda transaction: usage.adjust(transaction, found.project_id, [wrong]))
    report = done(project)
    assert (report.corrected, report.before - report.after) == (-777, 777)
    assert_exact(project)


def test_it_goes_on_where_its_time_was_over(project: str) -> None:
    images(project)
    expected = sum(named(project).values())
    forget_usage(rules.get(project))
    runs = count()
    while not (reports := recount.run(project, lambda: False)):
        assert next(runs) < 50
    assert next(runs) > usage.SHARDS
    assert (reports[0]["charged"], reports[0]["before"], reports[0]["after"]) == (expected, 0, expected)
    assert_exact(project)
    assert done(project).charged == 0


@pytest.mark.parametrize("moment", ["before-call", "after-call"])
def test_it_may_be_killed_at_any_write(project: str, moment: str) -> None:
    images(project)
    number, finished = 0, False
    while not finished:
        forget_usage(rules.get(project))
        recounts.delete(rules.get(project).project_id)
        with killed_at(number, moment):
            try:
                done(project)
                finished = True
            except Killed:
                pass
        done(project)
        if recounts.read(rules.get(project).project_id)["charged"]:
            done(project)
        assert_exact(project)
        number += 7
    assert number > 7


def test_pushes_and_deletes_beside_it(project: str, repository: str) -> None:
    images(project)
    forget_usage(rules.get(project))

    def work(number: int) -> None:
        for _ in range(4):
            digest, _ = push_image(f"{repository}{number}", "v1")
            if number % 2:
                deletion.manifest(f"{repository}{number}", digest)

    with ThreadPoolExecutor(6) as threads:
        working = [threads.submit(work, number) for number in range(4)]
        counting = [threads.submit(done, project) for _ in range(2)]
        for each in (*working, *counting):
            each.result()
    done(project)
    assert_exact(project)


@pytest.fixture
def last_projects(make_project: Callable[[str], None]) -> list[str]:
    """Two projects whose names come after those of all others, and a round that has come to them.

    A whole round takes minutes: it goes over what all other tests have left.
    """
    stem = f"zz{now()}"
    names = [f"{stem}-{each}" for each in "ab"]
    for name in names:
        make_project(name)
        push_image(f"{name}/app", "v1")
    recounts.write_round({"started": now(), "done": stem, "finished": 0})
    return names


def test_a_round_takes_all_projects_and_goes_on_where_its_time_was_over(last_projects: list[str]) -> None:
    times = iter([True] * 5)
    assert recount.run("", lambda: next(times, False)) == []
    assert recounts.read(rules.get(last_projects[0]).project_id)["shard"] > 0
    assert [report["project"] for report in recount.run("", always)] == last_projects
    for name in last_projects:
        assert_exact(name)


def test_a_round_is_over_for_a_day_and_then_begins_with_the_first_project(last_projects: list[str]) -> None:
    recount.run("", always)
    over = recounts.read_round()
    assert over["finished"] >= over["started"]
    assert recount.run("", always) == []
    recounts.write_round({**over, "started": over["started"] - 25 * 3600 * 1000})
    [report] = recount.run("", lambda: not recounts.read_round()["done"])
    assert report["project"] == min(project.name for project in rules.list_all())
    begun = recounts.read_round()
    assert (begun["done"], begun["finished"]) == (report["project"], 0)
    assert begun["started"] >= over["finished"]


def test_there_is_no_recount_of_what_is_not_there(project: str) -> None:
    with pytest.raises(NotFoundError):
        recount.run(f"{project}-gone", always)


def test_it_calls_no_more_than_its_policy_allows(project: str, last_projects: list[str], cloud: dict[str, str]) -> None:
    digest, _ = images(project)
    forget_usage(rules.get(project))
    usage.charge(rules.get(project).project_id, {digests.of(b"nobody's"): 5}, [usage.any_shard(4, -4)])
    assert digest
    with iam.recorded() as called:
        report = done(project)
        assert len(recount.run("", always)) == len(last_projects)
    assert (report.freed, report.corrected) == (5, 1)
    assert called == iam.actions_of([s for s in recount_statements() if s["Sid"].endswith("Table")], cloud), (
        called ^ iam.actions_of([s for s in recount_statements() if s["Sid"].endswith("Table")], cloud)
    )


def test_what_all_projects_store_follows_pushes_corrections_and_deleted_projects(project: str) -> None:
    before = usage.stored()
    images(project)
    assert usage.stored() - before == used(project) > 0
    found = rules.get(project)
    wrong = usage.Adjustment(3, 777, 55)
    assert transact(lambda transaction: usage.adjust(transaction, found.project_id, [wrong]))
    assert usage.stored() - before == used(project)
    assert done(project).corrected == -777
    assert usage.stored() - before == used(project)
    usage.delete_all(found.project_id)
    assert usage.stored() == before
    usage.delete_all(found.project_id)
    assert usage.stored() == before
