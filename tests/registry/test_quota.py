"""A project stores no more than it may: what counts, what is refused and when, and what it costs."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib import project_deletion
from chalicelib.artifacts import repository_deletion
from chalicelib.http import Request, Response
from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import ManifestBlobUnknown, QuotaExceeded, Referenced
from chalicelib.projects import quotas, rules
from chalicelib.projects.errors import LimitInvalidError
from chalicelib.projects.store import projects as project_table
from chalicelib.projects.store import usage
from chalicelib.registry import blobs, charges, deletion, push, push_plan, uploads
from chalicelib.v2.routes import handle
from tests.registry.accounting import assert_exact, assert_summed, charged, used
from tests.registry.images import CONFIG, descriptor, image, index, push_blob, push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("cloud")


def limit(project: str, size: int) -> None:
    quotas.set_limit(rules.get(project).project_id, size)


def put(repository: str, tag: str, content: bytes, media_type: str = manifests.OCI_MANIFEST) -> str:
    return push.manifest(repository, tag, content, media_type).digest


def some_image(repository: str, size: int) -> bytes:
    """The manifest, not pushed yet, of an image whose blobs have `size` bytes, uploaded."""
    return image(push_blob(repository, os.urandom(16), CONFIG), push_blob(repository, os.urandom(size - 16)))


def refusal(error: pytest.ExceptionInfo[QuotaExceeded]) -> str:
    return error.value.message


def test_a_push_counts_each_blob_and_the_manifest_once(project: str, repository: str) -> None:
    config, layer = push_blob(repository, b"{}" + os.urandom(8), CONFIG), push_blob(repository, os.urandom(100))
    content = image(config, layer, layer)
    for tag in ("v1", "v2", "v1"):
        put(repository, tag, content)
    assert used(project) == 10 + 100 + len(content)
    assert_exact(project)


def test_what_two_repositories_share_counts_once_and_what_two_projects_share_in_both(
    project: str, repository: str, other_repository: str, make_project: Callable[[str], None]
) -> None:
    other_project = f"other{os.urandom(6).hex()}"
    make_project(other_project)
    config, layer = b"{}" + os.urandom(8), os.urandom(100)
    for name in (repository, other_repository, f"{other_project}/app"):
        put(name, "v1", image(push_blob(name, config, CONFIG), push_blob(name, layer)))
    assert used(project) == used(other_project)
    assert_exact(project)
    assert_exact(other_project)
    digest = next(iter(charged(project)))
    deletion.manifest(repository, digests.of(image(descriptor(config, CONFIG), descriptor(layer))))
    assert digest in charged(project)
    assert_exact(project)
    repository_deletion.delete(other_repository)
    assert charged(project) == {}
    assert used(project) == 0
    assert_exact(other_project)


def test_a_delete_frees_what_no_other_manifest_of_the_project_names(project: str, repository: str) -> None:
    shared, own = push_blob(repository, os.urandom(50)), push_blob(repository, os.urandom(70))
    first = put(repository, "v1", image(push_blob(repository, os.urandom(16), CONFIG), shared, own))
    second = put(repository, "v2", image(push_blob(repository, os.urandom(16), CONFIG), shared))
    deletion.manifest(repository, first)
    assert own["digest"] not in charged(project)
    assert shared["digest"] in charged(project)
    assert_exact(project)
    deletion.manifest(repository, second)
    assert charged(project) == {}
    assert used(project) == 0
    assert_summed(project)


def test_an_index_counts_with_its_children(project: str, repository: str) -> None:
    child = some_image(repository, 100)
    put(repository, digests.of(child), child)
    parent = index(child)
    put(repository, "v1", parent, manifests.OCI_INDEX)
    assert used(project) == 100 + len(child) + len(parent)
    with pytest.raises(Referenced):
        deletion.manifest(repository, digests.of(child))
    assert_exact(project)
    repository_deletion.delete(repository)
    assert used(project) == 0


def test_a_manifest_kept_in_s3_counts_too(project: str, repository: str) -> None:
    content = image(push_blob(repository, os.urandom(16), CONFIG), annotations={"large": "x" * push_plan.INLINE_LIMIT})
    put(repository, "v1", content)
    assert used(project) == 16 + len(content)
    deletion.manifest(repository, digests.of(content))
    assert used(project) == 0


def test_a_manifest_with_hundreds_of_layers(project: str, repository: str) -> None:
    config = push_blob(repository, os.urandom(16), CONFIG)
    content = image(
        config, *(push_blob(repository, os.urandom(8)) for _ in range(2 * charges.MAX_PER_TRANSACTION + 30))
    )
    limit(project, 16 + 8 * (2 * charges.MAX_PER_TRANSACTION + 30) + len(content) - 1)
    with pytest.raises(QuotaExceeded):
        put(repository, "v1", content)
    assert_exact(project)
    limit(project, 16 + 8 * (2 * charges.MAX_PER_TRANSACTION + 30) + len(content))
    digest = put(repository, "v1", content)
    assert_exact(project)
    deletion.manifest(repository, digest)
    assert charged(project) == {}
    assert used(project) == 0


def test_charges_made_ahead_of_a_commit_that_is_refused_are_freed(project: str, repository: str) -> None:
    blobs_pushed = [push_blob(repository, os.urandom(8)) for _ in range(charges.MAX_PER_TRANSACTION + 1)]
    ahead = {each["digest"]: each["size"] for each in blobs_pushed}
    assert charges.make(rules.get(project), ahead)
    assert charged(project) == ahead
    missing = descriptor(os.urandom(8))
    with pytest.raises(ManifestBlobUnknown):
        put(repository, "v1", image(blobs_pushed[0], *blobs_pushed, missing))
    assert charged(project) == {}
    assert used(project) == 0


def test_a_push_over_the_limit_is_denied_in_harbors_words(
    project: str, repository: str, admin_authorization: str
) -> None:
    push_image(repository, "v1")
    content = some_image(repository, 3000)
    limit(project, 2048)
    headers = {"authorization": admin_authorization, "content-type": manifests.OCI_MANIFEST}
    request = Request("PUT", f"/v2/{repository}/manifests/v2", {}, headers, content, "http://localhost")
    response = handle(request)
    added, present = quotas.displayed(3000 + len(content)), quotas.displayed(used(project))
    assert response.status == 403
    [error] = json.loads(response.body)["errors"]
    assert error == {
        "code": "DENIED",
        "message": f"adding {added} of storage resource, which when updated to current usage of {present} will exceed "
        "the configured upper limit of 2.0 KiB.",
    }
    assert_exact(project)


def test_a_full_project_takes_what_it_has_already_and_serves_it(
    project: str, repository: str, other_repository: str
) -> None:
    digest, content = push_image(repository, "v1")
    limit(project, 1)
    assert put(repository, "v2", content) == digest
    for name in [each["digest"] for each in (json.loads(content)["config"], *json.loads(content)["layers"])]:
        assert blobs.find(repository, name)
        blobs.publish(other_repository, name, 0, "another object of the same bytes")
    assert put(other_repository, "v1", content) == digest
    assert_exact(project)
    with pytest.raises(QuotaExceeded):
        push_image(repository, "v3")
    limit(project, -1)
    push_image(repository, "v3")
    assert_exact(project)


def test_the_last_byte_fits_and_the_next_does_not(project: str, repository: str) -> None:
    content = some_image(repository, 500)
    limit(project, 500 + len(content) - 1)
    with pytest.raises(QuotaExceeded):
        put(repository, "v1", content)
    limit(project, 500 + len(content))
    put(repository, "v1", content)
    with pytest.raises(QuotaExceeded):
        put(repository, "v2", image(*json.loads(content)["layers"]))
    assert_exact(project)


def test_what_is_deleted_makes_room(project: str, repository: str) -> None:
    first, second = some_image(repository, 500), some_image(repository, 500)
    limit(project, 500 + len(first) + 10)
    digest = put(repository, "v1", first)
    with pytest.raises(QuotaExceeded):
        put(repository, "v2", second)
    deletion.manifest(repository, digest)
    put(repository, "v2", second)
    assert_exact(project)


def test_the_limit_holds_exactly_however_many_push_at_once(project: str, repository: str) -> None:
    contents = [some_image(f"{repository}{number}", 1000) for number in range(24)]
    size = 1000 + len(contents[0])
    limit(project, 10 * size + size // 2)

    def attempt(number: int) -> bool:
        try:
            put(f"{repository}{number}", "v1", contents[number])
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        succeeded = list(threads.map(attempt, range(len(contents))))
    assert sum(succeeded) == 10
    assert_exact(project)


def test_changing_the_limit_beside_pushes_and_deletes_leaves_the_sums_right(project: str, repository: str) -> None:
    def work(number: int) -> None:
        for step in range(4):
            try:
                digest, _ = push_image(f"{repository}{number}", "v1")
            except QuotaExceeded:
                continue
            if step % 2:
                deletion.manifest(f"{repository}{number}", digest)
            if number == 0:
                limit(project, random.choice([-1, 2000, 100_000, 1 << 40]))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert_exact(project)


def test_levelling_spreads_the_room_and_keeps_the_sum(project: str, repository: str) -> None:
    """Without a limit, room is negative where pushes fell; the first push under a limit evens it out."""
    for number in range(4):
        push_image(f"{repository}{number}", "v1")
    limit(project, used(project) + 10_000)
    number = rules.get(project).project_id
    before = usage.read_totals([number])[number]
    assert any(total.room < 0 for total in before)
    content = some_image(repository, 200)
    put(repository, "v2", content)
    after = usage.read_totals([number])[number]
    rooms = [total.room for total in after]
    assert max(rooms) - min(rooms) <= 1
    assert sum(rooms) == 10_000 - 200 - len(content)
    assert_exact(project)


def test_a_limit_is_positive_or_none(project: str) -> None:
    for wrong in (0, -2, quotas.LIMIT + 1):
        with pytest.raises(LimitInvalidError):
            limit(project, wrong)


def test_a_limit_that_was_set_elsewhere_counts_at_once(project: str, repository: str) -> None:
    """This process remembers the project for 30 seconds; a push sees what the table says."""
    content = some_image(repository, 500)
    assert rules.find(project) is not None
    assert project_table.set_storage_limit(rules.get(project), 100)
    with pytest.raises(QuotaExceeded):
        put(repository, "v1", content)


def test_a_deleted_project_leaves_no_usage_to_the_next_of_its_name(
    project: str, repository: str, make_project: Callable[[str], None]
) -> None:
    push_image(repository, "v1")
    before = rules.get(project)
    repository_deletion.delete(repository)
    project_deletion.delete(before)
    make_project(project)
    assert rules.get(project).project_id != before.project_id
    assert used(project) == 0
    assert usage.read_totals([before.project_id])[before.project_id] == tuple(
        usage.Total(shard) for shard in range(usage.SHARDS)
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1024.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (246_000_000_000, "229.1 GiB"),
        (1 << 50, "1.0 PiB"),
    ],
)
def test_sizes_are_written_as_harbor_does(size: int, text: str) -> None:
    assert quotas.displayed(size) == text


@pytest.fixture
def send(repository: str, admin_token: Callable[..., str]) -> Callable[..., Response]:
    authorization = f"Bearer {admin_token(repository)}"

    def request(method: str, path: str, body: bytes = b"", **query: str) -> Response:
        headers = {"authorization": authorization, "content-length": str(len(body))}
        return handle(Request(method, f"/v2/{repository}/{path}", query, headers, body, "http://localhost"))

    return request


class TestEarly:
    """Who uploads is told before the manifest."""

    def test_a_full_project_starts_no_upload(
        self, project: str, repository: str, send: Callable[..., Response]
    ) -> None:
        push_image(repository, "v1")
        limit(project, used(project))
        response = send("POST", "blobs/uploads/")
        assert response.status == 403
        assert json.loads(response.body)["errors"][0]["code"] == "DENIED"
        limit(project, used(project) + 1)
        assert send("POST", "blobs/uploads/").status == 202

    def test_a_blob_that_would_not_fit_is_refused_when_it_ends(
        self, project: str, send: Callable[..., Response]
    ) -> None:
        limit(project, 1000)
        content = os.urandom(1001)
        started = send("POST", "blobs/uploads/").headers["Docker-Upload-UUID"]
        assert send("PATCH", f"blobs/uploads/{started}", content).status == 403
        assert send("PATCH", f"blobs/uploads/{started}", content[:600]).status == 202
        limit(project, 500)
        assert send("PUT", f"blobs/uploads/{started}", digest=digests.of(content[:600])).status == 403
        assert send("GET", f"blobs/uploads/{started}").status == 404
        assert send("HEAD", f"blobs/{digests.of(content[:600])}").status == 404

    def test_a_blob_whose_size_is_told_is_refused_before_it_is_stored(
        self, project: str, send: Callable[..., Response]
    ) -> None:
        limit(project, 1000)
        content = os.urandom(1001)
        started = send("POST", "blobs/uploads/").headers["Docker-Upload-UUID"]
        with counted() as calls:
            assert send("PUT", f"blobs/uploads/{started}", content, digest=digests.of(content)).status == 403
        assert calls.summary[2] == 0
        assert send("POST", "blobs/uploads/", content, digest=digests.of(content)).status == 403
        fitting = content[:-1]
        assert send("PUT", f"blobs/uploads/{started}", fitting, digest=digests.of(fitting)).status == 201

    def test_what_counts_already_is_uploaded_again_and_mounted(
        self, project: str, repository: str, other_repository: str, admin_token: Callable[..., str]
    ) -> None:
        layer = os.urandom(100)
        put(repository, "v1", image(push_blob(repository, os.urandom(8), CONFIG), push_blob(repository, layer)))
        strange = push_blob(repository, os.urandom(200))
        limit(project, used(project) + 10)
        uploads.store(other_repository, digests.of(layer), layer)

        def mount(digest: str) -> Response:
            query = {"mount": digest, "from": repository}
            path = f"/v2/{project}/third/blobs/uploads/"
            headers = {"authorization": f"Bearer {admin_token(repository, f'{project}/third')}"}
            return handle(Request("POST", path, query, headers, b"", "http://localhost"))

        assert mount(digests.of(layer)).status == 201
        with counted() as calls:
            assert mount(strange["digest"]).status == 403
        assert calls.summary[1] == 0

    def test_a_mount_counts_once_its_manifest_is_there(self, project: str, make_project: Callable[[str], None]) -> None:
        source = f"source{os.urandom(6).hex()}"
        make_project(source)
        layer, config = push_blob(f"{source}/app", os.urandom(300)), push_blob(f"{source}/app", os.urandom(8), CONFIG)
        content = image(config, layer)
        put(f"{source}/app", "v1", content)
        for each in (layer, config):
            blob = blobs.find(f"{source}/app", each["digest"])
            blobs.publish(f"{project}/app", each["digest"], 0, blob.object_key)
        assert used(project) == 0
        put(f"{project}/app", "v1", content)
        assert used(project) == used(source)
        assert_exact(project)


class TestBudgets:
    @pytest.mark.parametrize("layers", [1, 19])
    def test_a_manifest_in_a_project_with_a_limit(
        self, project: str, repository: str, send: Callable[..., Response], layers: int
    ) -> None:
        limit(project, 1 << 30)
        push_image(repository, "before")  # evens the room out, and makes the project known
        config = push_blob(repository, os.urandom(8), CONFIG)
        content = image(config, *(push_blob(repository, os.urandom(8)) for _ in range(layers)))
        send("GET", "tags/list")
        for _ in ("first", "again"):
            with counted() as calls:
                assert send("PUT", "manifests/v1", content).status == 201
            reads, writes, s3 = calls.summary
            assert (reads <= 3, writes <= 3, s3) == (True, True, 0), calls

    def test_starting_an_upload_and_mounting(
        self, project: str, repository: str, other_repository: str, admin_token: Callable[..., str]
    ) -> None:
        limit(project, 1 << 30)
        digest = push_blob(other_repository, os.urandom(8))["digest"]
        headers = {"authorization": f"Bearer {admin_token(repository, other_repository)}"}
        path = f"/v2/{repository}/blobs/uploads/"
        handle(Request("GET", f"/v2/{repository}/tags/list", {}, headers, b"", "http://localhost"))
        for query in ({}, {"mount": digest, "from": other_repository}):
            with counted() as calls:
                handle(Request("POST", path, query, headers, b"", "http://localhost"))
            reads, writes, s3 = calls.summary
            assert (reads <= 2, writes, s3) == (True, 1, 0), calls


def test_a_transaction_holds_the_largest_commit(project: str, repository: str) -> None:
    """As many charges and totals as ever, beside a tag that moves and a subject."""
    layers = [push_blob(repository, os.urandom(8)) for _ in range(charges.MAX_PER_TRANSACTION - 2)]
    subject, _ = push_image(repository, "subject")
    push_image(repository, "v1")
    content = image(
        push_blob(repository, os.urandom(1000), CONFIG),
        *layers,
        subject={"mediaType": manifests.OCI_MANIFEST, "digest": subject, "size": 1},
    )
    limit(project, used(project) + 1000 + 8 * len(layers) + len(content) + 1)  # no total has the room alone
    put(repository, "v1", content)
    assert_exact(project)
