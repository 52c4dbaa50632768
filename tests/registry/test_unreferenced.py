"""What a project stores beside what it is charged for: open uploads and unnamed blobs are bounded by its limit."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from chalicelib.artifacts import recount
from chalicelib.http import Request, Response
from chalicelib.oci import digests, manifests
from chalicelib.oci.errors import QuotaExceeded
from chalicelib.projects import quotas, rules
from chalicelib.projects.store import usage
from chalicelib.registry import blobs, deletion, push, uploads
from chalicelib.registry.upload_writer import Writer
from chalicelib.v2.routes import handle
from tests.registry.accounting import assert_exact
from tests.registry.images import CONFIG, LAYER, descriptor, image

pytestmark = pytest.mark.usefixtures("cloud")

LIMIT = 10_000
ALLOWED = quotas.UNREFERENCED_LIMITS * LIMIT


@pytest.fixture
def limited(project: str) -> str:
    quotas.set_limit(rules.get(project).project_id, LIMIT)
    return project


def unreferenced(project: str) -> int:
    number = rules.get(project).project_id
    return sum(total.unreferenced for total in usage.read_totals([number])[number])


def upload(repository: str, content: bytes, media_type: str = LAYER) -> dict[str, Any]:
    uploads.store(repository, digests.of(content), content)
    return descriptor(content, media_type)


def append(repository: str, session_id: str, content: bytes) -> None:
    writer = Writer(uploads.find(repository, session_id))
    writer.append(0, writer.head() + content)


def test_blobs_without_a_manifest_are_refused_when_they_are_too_many(limited: str, repository: str) -> None:
    for _ in range(4):
        upload(repository, os.urandom(ALLOWED // 4))
    assert unreferenced(limited) == ALLOWED
    with pytest.raises(QuotaExceeded, match="no manifest names"):
        upload(repository, os.urandom(10))


def test_a_manifest_takes_its_blobs_off_and_its_delete_puts_them_back(limited: str, repository: str) -> None:
    content = image(upload(repository, os.urandom(16), CONFIG), upload(repository, os.urandom(3000)))
    assert unreferenced(limited) == 3016
    digest = push.manifest(repository, "v1", content, manifests.OCI_MANIFEST).digest
    assert unreferenced(limited) == 0
    assert_exact(limited)
    deletion.manifest(repository, digest)
    assert unreferenced(limited) == 3016
    push.manifest(repository, "v1", content, manifests.OCI_MANIFEST)
    assert unreferenced(limited) == 0


def test_pushing_and_deleting_again_and_again_comes_to_an_end(limited: str, repository: str) -> None:
    def push_and_delete() -> None:
        content = image(upload(repository, b"", CONFIG), upload(repository, os.urandom(LIMIT // 2)))
        deletion.manifest(repository, push.manifest(repository, "v1", content, manifests.OCI_MANIFEST).digest)

    for _ in range(ALLOWED // (LIMIT // 2)):
        push_and_delete()
    with pytest.raises(QuotaExceeded):
        push_and_delete()


def test_a_blob_counts_once_however_often_it_is_uploaded(limited: str, repository: str) -> None:
    content = os.urandom(1000)
    for _ in range(3):
        upload(repository, content)
    assert unreferenced(limited) == 1000


def test_a_blob_that_is_charged_already_does_not_count(limited: str, repository: str, other_repository: str) -> None:
    layer = os.urandom(1000)
    pushed = image(upload(repository, os.urandom(16), CONFIG), upload(repository, layer))
    push.manifest(repository, "v1", pushed, manifests.OCI_MANIFEST)
    upload(other_repository, layer)
    assert unreferenced(limited) == 0


def test_a_mounted_blob_takes_nothing_off(
    limited: str, repository: str, make_project: object, admin_authorization: str
) -> None:
    """Else naming what others have uploaded would make room for uploads."""
    source = f"source{os.urandom(6).hex()}"
    make_project(source)  # type: ignore[operator]
    layer = upload(f"{source}/app", os.urandom(4000))
    mount = Request(
        "POST",
        f"/v2/{repository}/blobs/uploads/",
        {"mount": layer["digest"], "from": f"{source}/app"},
        {"authorization": admin_authorization},
        b"",
        "http://localhost",
    )
    assert handle(mount).status == 201
    content = image(upload(repository, b"{}", CONFIG), layer)
    for _ in range(2):
        digest = push.manifest(repository, "v1", content, manifests.OCI_MANIFEST).digest
        assert unreferenced(limited) == 0
        deletion.manifest(repository, digest)
        assert unreferenced(limited) == 2


def test_bytes_of_open_uploads_count_until_they_are_cancelled(limited: str, repository: str) -> None:
    sessions = [uploads.start(repository).id for _ in range(2)]
    for session_id in sessions:
        append(repository, session_id, os.urandom(3000))
        append(repository, session_id, os.urandom(500))
    assert unreferenced(limited) == 7000
    for session_id in sessions:
        uploads.cancel(uploads.find(repository, session_id))
    assert unreferenced(limited) == 0


def test_an_upload_counts_as_its_blob_once_it_ends(limited: str, repository: str) -> None:
    session, content = uploads.start(repository), os.urandom(5000)
    Writer(session).append(0, content[:2000])
    Writer(uploads.find(repository, session.id)).complete(0, content, digests.of(content))
    assert blobs.find(repository, digests.of(content)).size == 5000
    assert unreferenced(limited) == 5000


def test_many_chunked_uploads_are_refused_over_http(limited: str, repository: str, admin_authorization: str) -> None:
    headers = {"authorization": admin_authorization}

    def ask(method: str, path: str, query: dict[str, str], body: bytes = b"") -> Response:
        return handle(
            Request(method, f"/v2/{repository}/blobs/uploads/{path}", query, headers, body, "http://localhost")
        )

    statuses = []
    for _ in range(8):
        started = ask("POST", "", {})
        if started.status == 202:
            content = os.urandom(LIMIT // 2 + 10)
            session = started.headers["Docker-Upload-UUID"]
            if ask("PATCH", session, {}, content[:-10]).status == 202:
                statuses.append(ask("PUT", session, {"digest": digests.of(content)}, content[-10:]).status)
            else:
                statuses.append(403)
        else:
            statuses.append(started.status)
    assert unreferenced(limited) <= ALLOWED
    assert statuses == [201, 201, 201, 403, 403, 403, 403, 403]


def test_a_project_without_a_limit_keeps_no_count(project: str, repository: str) -> None:
    upload(repository, os.urandom(1000))
    append(repository, uploads.start(repository).id, os.urandom(100))
    assert unreferenced(project) == 0


def test_a_recount_forgets_what_was_unreferenced_at_the_last(limited: str, repository: str) -> None:
    upload(repository, os.urandom(1000))
    recount.recount(rules.get(limited), lambda: True)
    assert unreferenced(limited) == 1000
    upload(repository, os.urandom(300))
    recount.recount(rules.get(limited), lambda: True)
    assert unreferenced(limited) == 300
    recount.recount(rules.get(limited), lambda: True)
    assert unreferenced(limited) == 0


def test_the_refusal_is_in_the_registrys_words(limited: str, repository: str, admin_authorization: str) -> None:
    upload(repository, os.urandom(LIMIT))
    upload(repository, os.urandom(LIMIT))
    headers = {"authorization": admin_authorization}
    refused = handle(Request("POST", f"/v2/{repository}/blobs/uploads/", {}, headers, b"", "http://localhost"))
    assert refused.status == 403
    [error] = json.loads(refused.body)["errors"]
    assert error["code"] == "DENIED"
    assert "have garbage collected" in error["message"]
