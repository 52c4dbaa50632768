"""The protocol as clients see it: statuses, headers and bodies of distribution-spec 1.1, by the one route."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from chalicelib.access import tokens
from chalicelib.access.authentication import ANONYMOUS, Caller
from chalicelib.http import Request, Response
from chalicelib.oci import digests, manifests
from chalicelib.projects import rules
from chalicelib.registry import pull
from chalicelib.registry.store import blobs as blob_table
from chalicelib.settings import settings
from chalicelib.v2 import routes
from tests.registry.images import CONFIG, LAYER, descriptor, image, index, push_blob, push_image

pytestmark = pytest.mark.usefixtures("cloud")

ADMIN = Caller("admin", is_admin=True)
DIGEST = "sha256:" + "a" * 64
Send = Callable[..., Response]


def send_as(caller: Caller, *scopes: str) -> Send:
    """Send requests with a token that `caller` is given for `scopes`; paths are as a Location or a Link has them."""
    authorization = {"authorization": f"Bearer {tokens.issue(caller, scopes).text}"}

    def request(method: str, url: str, body: bytes = b"", content_type: str = "") -> Response:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        headers = {**authorization, **({"content-type": content_type} if content_type else {})}
        return routes.handle(Request(method, parts.path, query, headers, body, "http://localhost"))

    return request


@pytest.fixture
def send(repository: str, other_repository: str) -> Send:
    return send_as(ADMIN, *(f"repository:{name}:*" for name in (repository, other_repository)), "registry:catalog:*")


def pages(send: Send, url: str) -> Iterator[tuple[Any, Response]]:
    """The answers from `url` on, as far as their Links lead."""
    seen = set()
    while url not in seen:
        seen.add(url)
        response = send("GET", url)
        assert response.status == 200, response.body
        yield json.loads(response.body), response
        if "Link" not in response.headers:
            return
        target, relation = response.headers["Link"].split("; ")
        assert relation == 'rel="next"'
        url = target.removeprefix("<").removesuffix(">")
    raise AssertionError(f"{url} leads back to itself")


def test_every_answer_names_the_protocol(repository: str, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    push_image(repository, "v1")

    def fail(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    answers = [
        send("GET", "/v2/"),
        send("GET", f"/v2/{repository}/manifests/v1"),
        send("GET", f"/v2/{repository}/manifests/none"),
        send("POST", f"/v2/{repository}/blobs/uploads/"),
        send("GET", f"/v2/{repository}/nowhere"),
        send_as(ANONYMOUS)("GET", f"/v2/{repository}/tags/list"),
        routes.handle(Request("GET", "/v2/", {}, {}, b"", "http://localhost")),
    ]
    monkeypatch.setattr(pull, "manifest", fail)
    answers.append(send("GET", f"/v2/{repository}/manifests/v1"))
    assert [answer.status for answer in answers] == [200, 200, 404, 202, 404, 401, 401, 500]
    assert {answer.headers["Docker-Distribution-API-Version"] for answer in answers} == {"registry/2.0"}
    assert b"a fault of ours" not in answers[-1].body


def document(media_type: str, **fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, **fields}, indent=3).encode()


@pytest.mark.parametrize("by", ["tag", "digest"])
@pytest.mark.parametrize(
    "media_type",
    [
        manifests.OCI_MANIFEST,
        manifests.DOCKER_MANIFEST,
        manifests.OCI_INDEX,
        manifests.DOCKER_LIST,
        manifests.OCI_ARTIFACT,
        "application/vnd.example.unknown.v7+json",
    ],
)
def test_a_manifest_of_each_type_comes_back_as_it_was_sent(
    repository: str, send: Send, media_type: str, by: str
) -> None:
    layer = push_blob(repository, os.urandom(8))
    if media_type in (manifests.OCI_INDEX, manifests.DOCKER_LIST):
        digest, child = push_image(repository)
        fields: dict[str, Any] = {"manifests": [{**descriptor(child, manifests.OCI_MANIFEST), "digest": digest}]}
    elif media_type == manifests.OCI_ARTIFACT:
        fields = {"artifactType": "application/vnd.example.sbom", "blobs": [layer]}
    else:
        fields = {"config": push_blob(repository, b"{}", CONFIG), "layers": [layer]}
    content = document(media_type, **fields)
    digest = digests.of(content)
    reference = "v1" if by == "tag" else digest
    pushed = send("PUT", f"/v2/{repository}/manifests/{reference}", content, media_type)
    assert pushed.status == 201, pushed.body
    assert pushed.headers["Location"] == f"/v2/{repository}/manifests/{digest}"
    assert pushed.headers["Docker-Content-Digest"] == digest
    assert "OCI-Subject" not in pushed.headers
    for method in ("GET", "HEAD"):
        for asked in (reference, digest):
            answer = send(method, f"/v2/{repository}/manifests/{asked}")
            assert (answer.status, answer.body) == (200, content)
            expected = {
                "Content-Type": media_type,
                "Content-Length": str(len(content)),
                "Docker-Content-Digest": digest,
                "ETag": f'"{digest}"',
            }
            assert expected.items() <= answer.headers.items()


def test_a_manifest_missing_a_blob_or_a_child_is_told_which(repository: str, send: Send) -> None:
    config = push_blob(repository, b"{}", CONFIG)
    missing = descriptor(os.urandom(8))
    for content, media_type, digest in (
        (image(config, missing), manifests.OCI_MANIFEST, missing["digest"]),
        (index(b"no such manifest"), manifests.OCI_INDEX, digests.of(b"no such manifest")),
    ):
        refused = send("PUT", f"/v2/{repository}/manifests/v1", content, media_type)
        (error,) = json.loads(refused.body)["errors"]
        assert (refused.status, error["code"]) == (404, "MANIFEST_BLOB_UNKNOWN")
        assert error["detail"] == [{"digest": digest}]
    assert send("GET", f"/v2/{repository}/manifests/v1").status == 404


def test_a_sparse_index_is_taken_when_it_is_set(repository: str, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    content = index(b"a manifest that is elsewhere")
    monkeypatch.setenv("BERTH_SPARSE_INDEXES", "true")
    settings.cache_clear()
    try:
        assert send("PUT", f"/v2/{repository}/manifests/v1", content, manifests.OCI_INDEX).status == 201
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert send("GET", f"/v2/{repository}/manifests/v1").body == content


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_a_layer_that_may_not_be_distributed_may_be_absent(repository: str, send: Send, media_type: str) -> None:
    absent = {**descriptor(os.urandom(8), media_type), "urls": ["https://example.com/layer"]}
    content = image(push_blob(repository, b"{}", CONFIG), absent)
    assert send("PUT", f"/v2/{repository}/manifests/v1", content, manifests.OCI_MANIFEST).status == 201


def test_a_tag_is_deleted_by_itself_and_a_manifest_with_its_tags(repository: str, send: Send) -> None:
    digest, _ = push_image(repository, "v1")
    place = f"/v2/{repository}/manifests"
    assert send("DELETE", f"{place}/v1").status == 202
    assert send("GET", f"{place}/v1").status == 404
    assert send("GET", f"{place}/{digest}").status == 200
    assert send("DELETE", f"{place}/{digest}").status == 202
    assert send("GET", f"{place}/{digest}").status == 404
    assert send("DELETE", f"{place}/{digest}").status == 404


def test_a_blob_is_asked_of_s3_by_each_method_with_its_own_url(repository: str, send: Send) -> None:
    blob = push_blob(repository, b"content")
    urls = set()
    for method in ("GET", "HEAD"):
        answer = send(method, f"/v2/{repository}/blobs/{blob['digest']}")
        assert answer.status == 307
        assert answer.headers["Docker-Content-Digest"] == blob["digest"]
        assert answer.body == b""
        urls.add(answer.headers["Location"])
    assert len(urls) == 2


def test_tags_are_read_page_by_page(repository: str, send: Send) -> None:
    _, content = push_image(repository, "t0")
    names = sorted([f"t{number}" for number in range(6)] + ["UPPER"])
    for name in names:
        assert send("PUT", f"/v2/{repository}/manifests/{name}", content, manifests.OCI_MANIFEST).status == 201
    place = f"/v2/{repository}/tags/list"
    assert json.loads(send("GET", place).body) == {"name": repository, "tags": names}
    for size in (1, 3, 7):
        read = [body["tags"] for body, _ in pages(send, f"{place}?n={size}")]
        assert [name for tags in read for name in tags] == names
        assert {len(tags) for tags in read[:-1]} <= {size}
        assert read[-1] != []
    assert json.loads(send("GET", f"{place}?n=2&last=t1").body)["tags"] == ["t2", "t3"]
    none = send("GET", f"{place}?n=0")
    assert (json.loads(none.body)["tags"], "Link" in none.headers) == ([], False)


def test_the_catalog_is_read_page_by_page_by_who_may(repository: str, other_repository: str, send: Send) -> None:
    for name in (repository, other_repository):
        push_image(name)
    names = [name for body, _ in pages(send, "/v2/_catalog?n=1") for name in body["repositories"]]
    assert names == sorted(names)
    assert {repository, other_repository} <= set(names)
    for refused in (send_as(ANONYMOUS, "registry:catalog:*"), send_as(Caller("user"), "registry:catalog:*")):
        assert refused("GET", "/v2/_catalog").status == 401


def refer(send: Send, repository: str, subject: dict[str, Any], artifact_type: str, **more: Any) -> Response:
    """Push an artifact of no content that refers to `subject`."""
    empty = push_blob(repository, b"{}", "application/vnd.oci.empty.v1+json")
    content = image(empty, empty, artifactType=artifact_type, subject=subject, **more)
    return send("PUT", f"/v2/{repository}/manifests/{digests.of(content)}", content, manifests.OCI_MANIFEST)


def test_referrers_are_listed_filtered_and_page_by_page(repository: str, send: Send) -> None:
    digest, content = push_image(repository)
    subject = descriptor(content, manifests.OCI_MANIFEST)
    pushed = {}
    for number in range(5):
        kind = "application/vnd.example.sbom" if number % 2 else "application/vnd.example.signature"
        answer = refer(send, repository, subject, kind, annotations={"number": str(number)})
        assert (answer.status, answer.headers["OCI-Subject"]) == (201, digest)
        pushed[answer.headers["Docker-Content-Digest"]] = (kind, {"number": str(number)})
    place = f"/v2/{repository}/referrers/{digest}"
    for query in ("", "?n=1", "?n=2"):
        read = list(pages(send, place + query))
        assert all(answer.headers["Content-Type"] == manifests.OCI_INDEX for _, answer in read)
        assert all("OCI-Filters-Applied" not in answer.headers for _, answer in read)
        entries = [entry for body, _ in read for entry in body["manifests"]]
        assert {entry["digest"]: (entry["artifactType"], entry["annotations"]) for entry in entries} == pushed
        assert len(entries) == len(pushed)
    for query in ("", "&n=1"):
        read = list(pages(send, f"{place}?artifactType=application/vnd.example.sbom{query}"))
        assert {answer.headers["OCI-Filters-Applied"] for _, answer in read} == {"artifactType"}
        kinds = [entry["artifactType"] for body, _ in read for entry in body["manifests"]]
        assert kinds == ["application/vnd.example.sbom"] * 2
    nothing = send("GET", f"/v2/{repository}/referrers/{DIGEST}")
    assert (nothing.status, json.loads(nothing.body)["manifests"]) == (200, [])


def test_the_referrers_tag_schema_of_older_clients_is_a_tag_as_any(repository: str, send: Send) -> None:
    """A client that knows no referrers API keeps an index under `sha256-…`; what it names is in the API's list too."""
    digest, content = push_image(repository)
    answer = refer(send, repository, descriptor(content, manifests.OCI_MANIFEST), "application/vnd.example.sbom")
    referrer = send("GET", answer.headers["Location"]).body
    fallback = index(referrer)
    tag = digest.replace(":", "-")
    assert send("PUT", f"/v2/{repository}/manifests/{tag}", fallback, manifests.OCI_INDEX).status == 201
    assert send("GET", f"/v2/{repository}/manifests/{tag}").body == fallback
    listed = json.loads(send("GET", f"/v2/{repository}/referrers/{digest}").body)["manifests"]
    assert [entry["digest"] for entry in listed] == [digests.of(referrer)]


def mount(send: Send, repository: str, digest: str, source: str | None = None) -> Response:
    """Ask for a mount."""
    query = f"mount={digest}" + ("" if source is None else f"&from={source}")
    return send("POST", f"/v2/{repository}/blobs/uploads/?{query}")


def is_served(repository: str, digest: str) -> bool:
    return blob_table.read(repository, digest)[1] is not None


@pytest.mark.parametrize("named", [True, False], ids=["from", "anywhere"])
def test_a_blob_is_mounted_from_where_the_caller_may_pull(
    repository: str, other_repository: str, send: Send, named: bool
) -> None:
    digest = push_blob(other_repository, os.urandom(8), LAYER)["digest"]
    mounted = mount(send, repository, digest, other_repository if named else None)
    assert mounted.status == 201
    assert mounted.headers["Location"] == f"/v2/{repository}/blobs/{digest}"
    assert mounted.headers["Docker-Content-Digest"] == digest
    assert is_served(repository, digest)


@pytest.mark.parametrize("named", [True, False], ids=["from", "anywhere"])
def test_a_blob_of_a_private_repository_is_not_mounted_by_who_may_not_pull_it(
    repository: str, other_repository: str, named: bool
) -> None:
    """The answer is that for a blob which is not there: an upload to send it by."""
    digest = push_blob(other_repository, os.urandom(8), LAYER)["digest"]
    send = send_as(ADMIN, f"repository:{repository}:pull,push", f"repository:{other_repository}:push")
    refused = mount(send, repository, digest, other_repository if named else None)
    unknown = mount(send, repository, DIGEST, other_repository if named else None)
    assert (refused.status, unknown.status) == (202, 202)
    assert refused.headers.keys() == unknown.headers.keys()
    assert not is_served(repository, digest)


def test_a_blob_is_mounted_from_a_public_project_by_anyone_who_may_push(repository: str) -> None:
    name = f"public{os.urandom(6).hex()}"
    rules.create(name, "admin", public=True)
    digest = push_blob(f"{name}/base", os.urandom(8), LAYER)["digest"]
    send = send_as(ADMIN, f"repository:{repository}:pull,push")
    assert mount(send, repository, digest, f"{name}/base").status == 201


@pytest.mark.parametrize("source", ["../x", "UPPER/x", "x", "missing/x", "%00"])
def test_a_mount_from_nowhere_starts_an_upload(repository: str, send: Send, source: str) -> None:
    digest = push_blob(repository, os.urandom(8), LAYER)["digest"]
    assert mount(send, repository, digest, source).status == 202
