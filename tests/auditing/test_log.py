"""The audit log's store: what is told is there exactly if it happened, counted exactly, and purged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.artifacts import repository_deletion
from chalicelib.auditing import log
from chalicelib.auditing import store as audit_counts
from chalicelib.events import store as audit
from chalicelib.events.records import Actor, Event
from chalicelib.events.store import ALWAYS, Period
from chalicelib.oci import manifests
from chalicelib.oci.errors import RegistryError
from chalicelib.projects import rules
from chalicelib.projects.errors import AlreadyExistsError
from chalicelib.registry import deletion, push
from chalicelib.storage.conditions import now
from chalicelib.storage.tables.item import connection
from tests.registry.images import image, push_blob, push_image

pytestmark = pytest.mark.usefixtures("cloud")

ALICE = Actor("alice", "203.0.113.7")
HOUR = 3_600_000


def told(project: str) -> list[tuple[str, str]]:
    """The kind and the resource of each entry of a project's log, the oldest first."""
    found = log.page(log.of_projects([rules.get(project)]), ALWAYS, 0, 100, descending=False)
    return [(event.type, event.resource) for event in found.entries]


def some_image(repository: str, content: bytes = b"layer") -> bytes:
    return image(push_blob(repository, b"{}"), push_blob(repository, content))


def write_old(project_id: int, number: int, operation: str = "pull", age: int = HOUR) -> None:
    time = now() - age
    audit.write_all(
        Event(operation, "artifact", f"r:{each}", ALICE, project_id=project_id, time=time - each)
        for each in range(number)
    )


@pytest.fixture
def project_id() -> int:
    """A number that no project has."""
    return now() % 10**9 + 10**9


def count(project_id: int) -> int:
    return audit_counts.count([audit.project_partition(project_id)], ALWAYS)


def test_an_artifacts_life_is_told(project: str) -> None:
    repository = f"{project}/app"
    digest = push.manifest(repository, "v1", some_image(repository), manifests.OCI_MANIFEST, ALICE).digest
    deletion.manifest(repository, "v1", ALICE)
    deletion.manifest(repository, digest, ALICE)
    repository_deletion.delete(repository, ALICE)
    assert told(project) == [
        ("create_project", project),
        ("create_artifact", f"{repository}:v1"),
        ("delete_tag", f"{repository}:v1"),
        ("delete_artifact", f"{repository}:{digest}"),
        ("delete_repository", repository),
    ]
    found = log.page(log.of_projects([rules.get(project)]), ALWAYS, 0, 1).entries[0]
    assert (found.actor, found.project_id, found.is_successful) == (ALICE, rules.get(project).project_id, True)
    assert abs(found.time - now()) < 60_000


def test_what_is_refused_is_not_told(project: str) -> None:
    repository = f"{project}/app"
    with pytest.raises(RegistryError):
        push.manifest(repository, "v1", image(push_blob(f"{project}/other", b"{}")), manifests.OCI_MANIFEST, ALICE)
    with pytest.raises(RegistryError):
        deletion.manifest(repository, "v1", ALICE)
    with pytest.raises(AlreadyExistsError):
        rules.create(project, "admin", public=False, actor=ALICE)
    assert told(project) == [("create_project", project)]


def test_a_killed_or_throttled_push_is_told_exactly_if_it_is_there(project: str) -> None:
    """The entry is in the transaction itself: whatever ends the push before it, nothing is told."""
    repository = f"{project}/app"
    content = some_image(repository)

    def die(params: object, **_: object) -> None:
        raise KeyboardInterrupt

    event = "before-call.dynamodb.TransactWriteItems"
    connection().client.meta.events.register(event, die)
    try:
        with pytest.raises(KeyboardInterrupt):
            push.manifest(repository, "v1", content, manifests.OCI_MANIFEST, ALICE)
    finally:
        connection().client.meta.events.unregister(event, die)
    assert told(project) == [("create_project", project)]
    push.manifest(repository, "v1", content, manifests.OCI_MANIFEST, ALICE)
    assert told(project)[1:] == [("create_artifact", f"{repository}:v1")]


def test_pushes_and_deletes_side_by_side_are_each_told_once(project: str) -> None:
    repository = f"{project}/app"
    content = some_image(repository)
    done: list[str] = []
    lock = threading.Lock()

    def act(number: int) -> None:
        try:
            if number % 3:
                push.manifest(repository, f"t{number % 2}", content, manifests.OCI_MANIFEST, ALICE)
                kind = "create_artifact"
            else:
                deletion.manifest(repository, f"t{number % 2}", ALICE)
                kind = "delete_tag"
        except RegistryError:
            return
        with lock:
            done.append(kind)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, range(18)))
    assert sorted(kind for kind, _ in told(project)[1:]) == sorted(done)
    assert "create_artifact" in done


def test_the_systems_log_holds_what_the_projects_hold(project: str) -> None:
    push_image(f"{project}/app", "v1")
    since = Period(since=now() - 60_000)
    found = log.page(log.of_system(), since, 0, 100, chosen=lambda event: event.resource.startswith(project))
    assert [event.type for event in found.entries] == ["create_artifact", "create_project"]
    assert found.total == 2


def test_pages_follow_each_other_in_both_directions(project_id: int) -> None:
    write_old(project_id, 25)
    partitions = [audit.project_partition(project_id)]
    for descending in (True, False):
        whole = [event.resource for event in log.page(partitions, ALWAYS, 0, 100, descending=descending).entries]
        pages = [log.page(partitions, ALWAYS, start, 10, descending=descending) for start in (0, 10, 20)]
        assert [event.resource for each in pages for event in each.entries] == whole
        assert [each.total for each in pages] == [25, 25, 25]
    assert whole == [f"r:{each}" for each in reversed(range(25))]


def test_a_kept_count_stays_exact_while_entries_come_and_go(project_id: int) -> None:
    write_old(project_id, 300)
    write_old(project_id, 7, "delete", age=0)
    partition = audit.project_partition(project_id)
    for _ in ("counts", "has kept"):
        assert count(project_id) == 307
    assert audit_counts._read([partition])[partition].entries == 300
    write_old(project_id, 30, "create", age=0)
    assert count(project_id) == 337
    purged = purge_all(now() - HOUR // 2, {"pull_artifact"})
    assert purged >= 300
    assert count(project_id) == 37
    assert audit_counts._read([partition])[partition].entries == 0


def purge_all(before: int, event_types: set[str], *, dry_run: bool = False) -> int:
    total, cursor = 0, ""
    while True:
        page = log.purge(before, event_types, dry_run=dry_run, cursor=cursor)
        total, cursor = total + page.entries, page.cursor
        if not cursor:
            return total


def test_a_purge_takes_what_is_old_and_of_the_types_named(project_id: int) -> None:
    for operation in ("pull", "delete"):
        write_old(project_id, 45, operation)
    write_old(project_id, 5, "pull", age=0)
    before = now() - HOUR // 2
    assert purge_all(before, {"pull_artifact"}, dry_run=True) >= 45
    assert count(project_id) == 95
    assert purge_all(before, {"pull_artifact"}) >= 45
    assert purge_all(before, {"pull_artifact"}) == 0
    assert count(project_id) == 50


def test_purges_side_by_side_delete_each_entry_once(project_id: int) -> None:
    write_old(project_id, 120)
    before = now() - HOUR // 2
    assert count(project_id) == 120
    with ThreadPoolExecutor(2) as pool:
        deleted = sum(pool.map(lambda _: purge_all(before, {"pull_artifact"}), range(2)))
    assert deleted == 120
    assert count(project_id) == 0


def test_listing_costs_what_it_shows(project_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entries that DynamoDB reads for a page do not grow with the log, once its count is kept."""
    write_old(project_id, 1000)
    partitions = [audit.project_partition(project_id)]
    log.page(partitions, ALWAYS, 0, 10)
    read: list[int] = []
    from chalicelib.storage import reads

    call: Callable[..., dict[str, object]] = reads._call

    def counting(operation: str, request: dict[str, object]) -> dict[str, object]:
        answer = call(operation, request)
        read.append(int(str(answer.get("ScannedCount", 1))))
        return answer

    monkeypatch.setattr(reads, "_call", counting)
    assert log.page(partitions, ALWAYS, 0, 10).total == 1000
    assert sum(read) < 15
