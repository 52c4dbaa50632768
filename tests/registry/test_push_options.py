"""Pushes by digest with tags, by algorithms other than sha256, and on conditions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib import project_deletion
from chalicelib.access import tokens
from chalicelib.access.authentication import Caller
from chalicelib.artifacts import repository_deletion
from chalicelib.auditing import store as audit_counts
from chalicelib.events import store as audit
from chalicelib.http import Request, Response
from chalicelib.oci import accessories, digests, manifests
from chalicelib.oci.errors import ManifestInvalid, ManifestUnknown, PreconditionFailed
from chalicelib.oci.names import project_of
from chalicelib.projects import rules
from chalicelib.registry import deletion, listings, pull, push
from chalicelib.registry.preconditions import Preconditions
from chalicelib.registry.pull import _contents
from chalicelib.v2.routes import handle
from tests.registry.accounting import assert_exact
from tests.registry.images import CONFIG, descriptor, image, push_blob, push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("cloud")

Send = Callable[..., Response]
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def send(repository: str) -> Send:
    token = tokens.issue(Caller("admin", is_admin=True), [f"repository:{repository}:*"]).text

    def request(method: str, path: str, body: bytes = b"", **more: Any) -> Response:
        query = {name: values[0] for name, values in more.get("query", {}).items()}
        headers = {"authorization": f"Bearer {token}", **more.get("headers", {})}
        url = f"/v2/{repository}/{path}"
        return handle(Request(method, url, query, headers, body, "http://localhost", repeated=more.get("query", {})))

    return request


def new_image(repository: str, layers: int = 1) -> bytes:
    return image(
        push_blob(repository, os.urandom(8), CONFIG), *(push_blob(repository, os.urandom(8)) for _ in range(layers))
    )


# --- tags


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_push_by_digest_puts_the_tags_that_it_asks_for(repository: str, send: Send, algorithm: str) -> None:
    content = new_image(repository)
    digest = digests.of(content, algorithm)
    names = [f"1.{number}" for number in range(push.TAG_LIMIT)]
    partition = audit.project_partition(rules.get(project_of(repository)).project_id)
    before = audit_counts.count([partition], audit.ALWAYS)
    with counted() as calls:
        answer = send("PUT", f"manifests/{digest}", content, query={"tag": [*names, "1.0"]})
    assert answer.status == 201
    assert answer.headers["OCI-Tag"] == ", ".join(names)
    assert answer.headers["Docker-Content-Digest"] == digest
    assert [pull.manifest(repository, name).digest for name in names] == [digest] * len(names)
    assert calls.summary[1] <= 4
    assert audit_counts.count([partition], audit.ALWAYS) == before + len(names)
    assert_exact(project_of(repository))


def test_tags_that_leave_one_manifest_are_moved_together(repository: str, send: Send) -> None:
    digest, content = push_image(repository, "a")
    push.manifest(repository, "b", content, "")
    moved = new_image(repository, layers=70)
    answer = send("PUT", f"manifests/{digests.of(moved)}", moved, query={"tag": ["a", "b", "c"]})
    assert answer.status == 201, answer.body
    assert {pull.manifest(repository, name).content for name in "abc"} == {moved}
    assert listings.tags(repository, "", 10).entries == ["a", "b", "c"]
    deletion.manifest(repository, digest)
    assert_exact(project_of(repository))


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [({"tag": [f"t{number}" for number in range(11)]}, 414, "TAG_INVALID"), ({"tag": ["a", "-b"]}, 400, "TAG_INVALID")],
)
def test_too_many_tags_and_bad_ones_are_refused_whole(
    repository: str, send: Send, query: dict[str, list[str]], status: int, code: str
) -> None:
    content = new_image(repository)
    answer = send("PUT", f"manifests/{digests.of(content)}", content, query=query)
    assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (status, code)
    assert send("GET", f"manifests/{digests.of(content)}").status == 404


def test_a_push_without_tags_names_none(repository: str, send: Send) -> None:
    content = new_image(repository)
    for reference in ("v1", digests.of(content)):
        assert "OCI-Tag" not in send("PUT", f"manifests/{reference}", content).headers


# --- sha512


def test_a_tag_may_point_at_a_sha512(repository: str, send: Send) -> None:
    """regctl sends the digest beside the tag where no OCI-Tag comes back."""
    content = new_image(repository)
    digest = digests.of(content, "sha512")
    answer = send("PUT", "manifests/v1", content, query={"digest": [digest]})
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    for method in ("GET", "HEAD"):
        assert send(method, "manifests/v1").headers["Docker-Content-Digest"] == digest
    assert send("GET", f"manifests/{digests.of(content)}").status == 404
    assert send("DELETE", f"manifests/{digest}").status == 202
    assert send("GET", "manifests/v1").status == 404


def test_a_digest_beside_a_tag_must_be_the_contents(repository: str, send: Send) -> None:
    content = new_image(repository)
    for digest in (digests.of(b"another", "sha512"), "sha512:short"):
        answer = send("PUT", "manifests/v1", content, query={"digest": [digest]})
        assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    assert send("GET", "manifests/v1").status == 404


def test_a_sha512_image_has_referrers_and_an_index_of_its_own(repository: str, send: Send) -> None:
    content = new_image(repository)
    digest = digests.of(content, "sha512")
    assert send("PUT", f"manifests/{digest}", content).status == 201
    entry = {**descriptor(content, manifests.OCI_MANIFEST), "digest": digest}
    about = image(push_blob(repository, b"{}", CONFIG), subject=entry, artifactType="text/x")
    pushed = send(
        "PUT", f"manifests/{digests.of(about, 'sha512')}", about, query={"tag": [digest[:71].replace(":", "-")]}
    )
    assert pushed.headers["OCI-Subject"] == digest
    listed = json.loads(send("GET", f"referrers/{digest}").body)["manifests"]
    assert [each["digest"] for each in listed] == [digests.of(about, "sha512")]
    index = json.dumps({"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": [entry]}).encode()
    assert send("PUT", "manifests/index", index).status == 201
    assert send("DELETE", f"manifests/{digest}").status == 412


def test_a_referrers_tag_has_the_first_characters_of_a_longer_digest() -> None:
    digest = digests.of(b"", "sha512")
    assert accessories.is_fallback_tag(f"sha512-{digest[7:71]}")
    assert not accessories.is_fallback_tag(f"sha512-{digest[7:]}")


# --- conditions


def test_a_push_on_a_condition_that_does_not_hold_changes_nothing(repository: str, send: Send) -> None:
    digest, content = push_image(repository, "v1")
    moved = new_image(repository)
    for name, value in (
        ("if-none-match", "*"),
        ("if-none-match", f'"{digest}"'),
        ("if-none-match", f'"x", W/"{digest}"'),
        ("if-match", f'"{DIGEST}"'),
        ("if-match", f'W/"{digest}"'),
    ):
        answer = send("PUT", "manifests/v1", moved, headers={name: value})
        assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (412, "PRECONDITION"), value
    assert send("PUT", "manifests/new", moved, headers={"if-match": "*"}).status == 412
    assert send("DELETE", "manifests/v1", headers={"if-match": f'"{DIGEST}"'}).status == 412
    assert pull.manifest(repository, "v1").content == content
    assert send("GET", f"manifests/{digests.of(moved)}").status == 404
    assert_exact(project_of(repository))


def test_a_push_on_a_condition_that_holds_is_done(repository: str, send: Send) -> None:
    digest, _ = push_image(repository, "v1")
    moved = new_image(repository)
    assert send("PUT", "manifests/new", moved, headers={"if-none-match": "*"}).status == 201
    assert send("PUT", "manifests/v1", moved, headers={"if-match": f'"{DIGEST}", "{digest}"'}).status == 201
    assert send("PUT", "manifests/v1", moved, headers={"if-match": "*"}).status == 201
    assert pull.manifest(repository, "v1").content == moved
    assert send("DELETE", "manifests/v1", headers={"if-match": f'"{digests.of(moved)}"'}).status == 202


def test_a_push_goes_to_the_project_that_it_was_let_into(
    repository: str, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, real = new_image(repository), push.manifest

    def remade(*args: Any, **options: Any) -> Any:
        project = rules.get(project_of(repository))
        repository_deletion.delete(repository)
        project_deletion.delete(project)
        rules.create(project.name, "admin", public=False)
        return real(*args, **options)

    push_image(repository, "v1")
    with monkeypatch.context() as patch:
        patch.setattr(push, "manifest", remade)
        response = send("PUT", "manifests/v2", content, headers={"content-type": manifests.OCI_MANIFEST})
    assert (response.status, json.loads(response.body)["errors"][0]["code"]) == (404, "NAME_UNKNOWN")
    assert pull_or_none(repository, "v2") is None


def pull_or_none(repository: str, reference: str) -> str | None:
    try:
        return pull.manifest(repository, reference).digest
    except ManifestUnknown:
        return None


def test_of_pushes_that_each_want_the_tag_to_be_new_one_succeeds(repository: str) -> None:
    contents = [new_image(repository) for _ in range(6)]
    first = Preconditions(none_match=frozenset("*"))

    def put(content: bytes) -> bool:
        try:
            push.manifest(repository, "v1", content, "", preconditions=first)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(put, contents))
    assert sum(done) == 1
    assert pull.manifest(repository, "v1").content == contents[done.index(True)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_a_manifest_is_told_so(repository: str, send: Send, method: str) -> None:
    digest, content = push_image(repository, "v1")
    for reference in ("v1", digest):
        for value in (f'"{digest}"', f'W/"{digest}"', digest, "*", f'"{DIGEST}", "{digest}"'):
            answer = send(method, f"manifests/{reference}", headers={"if-none-match": value})
            assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", f'"{digest}"'), value
        for value in (f'"{DIGEST}"', "", ",", '"', "W/", "x" * 8000 + " y", f"{digest[:-1]}"):
            assert send(method, f"manifests/{reference}", headers={"if-none-match": value}).body == content
        assert send(method, f"manifests/{reference}", headers={"if-match": f'"{DIGEST}"'}).status == 412
        assert send(method, f"manifests/{reference}", headers={"if-match": f'"{digest}"'}).status == 200
    assert send(method, "manifests/none", headers={"if-none-match": "*"}).status == 404


# --- one type a digest


def test_bytes_have_one_media_type_in_a_repository(repository: str, other_repository: str, send: Send) -> None:
    """What is pulled must not depend on who pushed last, nor on what a process still has at hand (CVE-2021-41190)."""
    entry = push_blob(repository, b"{}", CONFIG)
    content = json.dumps({"schemaVersion": 2, "config": entry, "layers": []}).encode()
    push.manifest(repository, "oci", content, manifests.OCI_MANIFEST)
    with pytest.raises(ManifestInvalid, match="type"):
        push.manifest(repository, "docker", content, manifests.DOCKER_MANIFEST)
    push.manifest(repository, "again", content, manifests.OCI_MANIFEST.upper())
    for _ in ("cold", "warm"):
        for reference in ("oci", "again", digests.of(content)):
            assert send("GET", f"manifests/{reference}").headers["Content-Type"] == manifests.OCI_MANIFEST
    push_blob(other_repository, b"{}", CONFIG)
    push.manifest(other_repository, "docker", content, manifests.DOCKER_MANIFEST)
    for _ in ("warm", "cold"):
        assert pull.manifest(other_repository, "docker").media_type == manifests.DOCKER_MANIFEST
        _contents.__init__(1 << 20)  # type: ignore[misc]  # a container that has served nothing yet


# --- artifact types


@pytest.mark.parametrize(
    ("artifact_type", "asked"),
    [
        ("application/spdx+json", "application/spdx json"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("no-slash", "no-slash"),
        ("a|b", "a|b"),
        ("Ä" * 127, "Ä" * 127),
    ],
)
def test_referrers_are_filtered_by_any_type(repository: str, send: Send, artifact_type: str, asked: str) -> None:
    _, subject = push_image(repository)
    config = push_blob(repository, b"{}", CONFIG)
    for named in (artifact_type, "a", "other/type"):
        about = image(config, subject=descriptor(subject, manifests.OCI_MANIFEST), artifactType=named)
        assert send("PUT", f"manifests/{digests.of(about)}", about).status == 201
    path = f"referrers/{digests.of(subject)}"
    found = json.loads(send("GET", path, query={"artifactType": [asked]}).body)["manifests"]
    assert [each["artifactType"] for each in found] == [artifact_type]
    assert len(json.loads(send("GET", path).body)["manifests"]) == 3
    assert json.loads(send("GET", path, query={"artifactType": ["a\x00"]}).body)["manifests"] == []
