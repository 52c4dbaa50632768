"""Who pulled what, when and how often: noted with the pull, written behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import background
from chalicelib.events.records import JOBS, Event
from chalicelib.http import Request, Response
from chalicelib.oci import manifests
from chalicelib.oci.errors import Unavailable
from chalicelib.registry import pull, pulls, push
from chalicelib.registry.pulls import Pull
from chalicelib.registry.store import listings, repositories
from chalicelib.registry.store import pulls as table
from chalicelib.registry.store.artifacts import Artifact, read_all
from chalicelib.v2.routes import handle
from tests.api.conftest import administrator  # noqa: F401 -- a fixture
from tests.api.support import call
from tests.registry.images import push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("cloud")

Send = Callable[..., Response]


@pytest.fixture(autouse=True)
def _nothing_pending(cloud: object) -> None:
    """Pulls of other tests are written before, so that calls that are counted are this test's."""
    background.finish()


@pytest.fixture
def send(repository: str, admin_token: Callable[..., str]) -> Send:
    authorization = f"Bearer {admin_token(repository)}"

    def request(method: str, path: str) -> Response:
        headers = {"authorization": authorization}
        return handle(Request(method, f"/v2/{repository}/{path}", {}, headers, b"", "http://localhost"))

    request("GET", "tags/list")
    return request


def artifact(repository: str) -> Artifact:
    [only] = read_all(repository)
    return only


def tag_times(repository: str) -> dict[str, int | None]:
    return {tag.name: tag.pulled for tags in listings.tags_by_digest(repository).values() for tag in tags}


def count(repository: str) -> int:
    found = repositories.read(repository)
    assert found is not None
    return found.pulls


def test_a_pull_by_tag_is_the_artifacts_the_tags_and_the_repositorys(repository: str, send: Send) -> None:
    digest, content = push_image(repository, "v1")
    push.manifest(repository, "v2", content, manifests.OCI_MANIFEST)
    assert artifact(repository).pulled is None
    assert send("GET", "manifests/v1").status == 200
    assert artifact(repository).pulled is None
    background.finish()
    first = artifact(repository).pulled
    assert first is not None
    assert tag_times(repository) == {"v1": first, "v2": None}
    assert send("GET", f"manifests/{digest}").status == 200
    background.finish()
    assert (artifact(repository).pulled or 0) > first
    assert tag_times(repository) == {"v1": first, "v2": None}
    assert count(repository) == 2


def test_only_a_clients_get_of_a_manifest_is_a_pull(repository: str, send: Send) -> None:
    push_image(repository, "v1")
    assert send("HEAD", "manifests/v1").status == 200
    assert send("GET", "manifests/none").status == 404
    assert send("GET", "tags/list").status == 200
    pull.manifest(repository, "v1")
    background.finish()
    assert count(repository) == 0
    assert artifact(repository).pulled is None


def test_many_pulls_are_three_writes(repository: str, send: Send) -> None:
    push_image(repository, "v1")
    with counted() as calls:
        for _ in range(20):
            assert send("GET", "manifests/v1").status == 200
        assert calls.summary[1] == 0
        calls.clear()
        pulls.times.flush()
        pulls.counts.flush()
    assert sorted(calls) == [("dynamodb", "GetItem"), *[("dynamodb", "UpdateItem")] * 3]
    assert count(repository) == 20


def test_the_first_pull_of_an_artifact_waits_for_no_other_and_the_next_ones_a_minute(
    repository: str, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [push_image(repository, tag)[0] for tag in ("v1", "v2")]
    clock = [background.time.time()]
    monkeypatch.setattr(background.time, "time", lambda: clock[0])

    def pulled(tag: str) -> int:
        """When the table says that the artifact was pulled, once it was now and the response has left."""
        assert send("GET", f"manifests/{tag}").status == 200
        background.response_sent()
        return artifact_times(repository)[digests[int(tag[1]) - 1]]

    first, second = pulled("v1"), pulled("v2")
    assert 0 < first <= second
    clock[0] += 59
    assert pulled("v1") == first
    assert pulls.times.due_in() == pytest.approx(1)
    clock[0] += 1
    background.response_sent()
    assert artifact_times(repository)[digests[0]] > first


def artifact_times(repository: str) -> dict[str, int]:
    return {each.digest: each.pulled or 0 for each in read_all(repository)}


def test_pushing_again_keeps_the_times(repository: str, send: Send) -> None:
    _, content = push_image(repository, "v1")
    assert send("GET", "manifests/v1").status == 200
    background.finish()
    before = artifact(repository).pulled, tag_times(repository)
    push.manifest(repository, "v1", content, manifests.OCI_MANIFEST)
    assert (artifact(repository).pulled, tag_times(repository)) == before
    push_image(repository, "v1")
    assert tag_times(repository) == {"v1": None}


def test_a_time_never_goes_back(repository: str) -> None:
    digest, _ = push_image(repository, "v1")
    for time in (2000, 1000):
        table.set_times(repository, digest, time, {"v1": time})
    assert artifact(repository).pulled == 2000
    assert tag_times(repository) == {"v1": 2000}


def test_what_is_deleted_meanwhile_stays_deleted(repository: str, send: Send) -> None:
    digest, _ = push_image(repository, "v1")
    assert send("GET", "manifests/v1").status == 200
    assert send("DELETE", f"manifests/{digest}").status == 202
    assert repositories.delete_empty(repository, Event("delete", "repository", repository, JOBS), public=False)
    background.finish()
    assert read_all(repository) == []
    assert tag_times(repository) == {}
    assert repositories.read(repository) is None


def test_what_a_busy_store_refuses_is_written_later_and_counted_once(
    repository: str, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_image(repository, "v1")
    for _ in range(3):
        assert send("GET", "manifests/v1").status == 200
    with monkeypatch.context() as patch:
        patch.setattr(table, "set_times", _busy)
        patch.setattr(table, "add_count", _busy)
        background.finish()
    assert (count(repository), artifact(repository).pulled) == (0, None)
    for _ in range(2):
        background.finish()
        assert count(repository) == 3
        assert artifact(repository).pulled is not None
    assert (pulls.times.due_in(), pulls.counts.due_in()) == (None, None)


def _busy(*_: Any) -> None:
    from botocore.exceptions import ClientError

    error = {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    raise ClientError(error, "UpdateItem") from Unavailable("throttled")  # type: ignore[arg-type]


def test_others_are_told_of_each_pull(repository: str, send: Send) -> None:
    told: list[Pull] = []
    gathered = pulls.on_pull(lambda entries: told.extend(entries) or [])  # type: ignore[func-returns-value]
    try:
        digest, _ = push_image(repository, "v1")
        for reference in ("v1", digest):
            assert send("GET", f"manifests/{reference}").status == 200
        assert told == []
        gathered.flush()
    finally:
        pulls._consumers.remove(gathered)
    assert [(each.repository, each.digest, each.tag, each.actor.name) for each in told] == [
        (repository, digest, "v1", "admin"),
        (repository, digest, "", "admin"),
    ]


@pytest.mark.usefixtures("administrator")
def test_the_api_shows_times_and_counts(repository: str, send: Send) -> None:
    project, _, name = repository.partition("/")
    path = f"/projects/{project}/repositories"

    def get(url: str) -> Any:
        answer = call("GET", url)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    push_image(repository, "never")
    push_image(repository, "v1")
    assert get(f"{path}/{name}/artifacts/v1")["pull_time"] == "0001-01-01T00:00:00.000Z"
    assert send("GET", "manifests/v1").status == 200
    background.finish()
    found = get(f"{path}/{name}/artifacts/v1")
    assert found["pull_time"] > found["push_time"]
    assert found["tags"][0]["pull_time"] == found["pull_time"]
    assert get(f"{path}/{name}/artifacts/v1/tags?sort=-pull_time")[0]["pull_time"] == found["pull_time"]
    assert get(f"{path}/{name}/artifacts?sort=-pull_time")[0]["digest"] == found["digest"]
    assert get(f"{path}/{name}")["pull_count"] == 1
    assert get(f"{path}?sort=-pull_count")[0]["pull_count"] == 1
    assert [each["pull_count"] for each in get(f"/search?q={project}")["repository"]] == [1]
