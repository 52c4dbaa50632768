"""What a project's policies let clients pull, and what it costs to look."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from chalicelib.access import tokens
from chalicelib.access.authentication import Caller
from chalicelib.http import Request, Response
from chalicelib.oci import manifests
from chalicelib.projects import rules
from chalicelib.registry import deletion, pull, push
from chalicelib.v2.routes import handle
from tests.registry.accessories import NOTATION, attach, attach_by_tag
from tests.registry.images import image, index, push_blob, push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("cloud")

Get = Callable[..., Response]


@pytest.fixture
def get(repository: str) -> Get:
    """Pull a manifest of the repository, with a token for `actions`."""

    def get(
        reference: str, *, method: str = "GET", agent: str = "docker/28", actions: str = "pull", admin: bool = False
    ) -> Response:
        caller = Caller("admin", is_admin=True) if admin or actions != "pull" else Caller("someone")
        token = tokens.issue(caller, [f"repository:{repository}:{actions}"]).text
        headers = {"authorization": f"Bearer {token}", "user-agent": agent}
        return handle(Request(method, f"/v2/{repository}/manifests/{reference}", {}, headers, b"", "http://localhost"))

    return get


@pytest.fixture
def require(project: str) -> Callable[..., None]:
    """Make the project public and set policies."""

    def require(**metadata: str) -> None:
        rules.update(rules.get(project), public=True, metadata=metadata)

    require()
    return require


def refusal(response: Response) -> str:
    assert response.status == 412, response.body
    [error] = json.loads(response.body)["errors"]
    assert error["code"] == "PROJECTPOLICYVIOLATION"
    return str(error["message"])


@pytest.mark.parametrize(
    ("setting", "kind", "sign"),
    [
        ("enable_content_trust_cosign", "cosign", attach),
        ("enable_content_trust_cosign", "cosign", attach_by_tag),
        ("enable_content_trust", "notation", lambda repository, subject: attach(repository, subject, NOTATION)),
    ],
)
def test_only_what_is_signed_is_pulled(
    repository: str, get: Get, require: Callable[..., None], setting: str, kind: str, sign: Callable[[str, str], str]
) -> None:
    digest, _ = push_image(repository, "v1")
    require(**{setting: "true"})
    for reference in ("v1", digest):
        assert refusal(get(reference)) == f"The image is not signed by {kind}."
        assert get(reference, method="HEAD").status == 200
    assert get("none").status == 404
    attach(repository, digest, "application/spdx+json")
    assert get("v1").status == 412
    signature = sign(repository, digest)
    for reference in ("v1", digest, signature):
        assert get(reference).status == 200
    deletion.manifest(repository, signature)
    assert get("v1").status == 412
    require()
    assert get("v1").status == 200


def test_both_signatures_may_be_required(repository: str, get: Get, require: Callable[..., None]) -> None:
    digest, _ = push_image(repository, "v1")
    require(enable_content_trust="true", enable_content_trust_cosign="true")
    attach(repository, digest)
    assert refusal(get("v1")) == "The image is not signed by notation."
    attach(repository, digest, NOTATION)
    assert get("v1").status == 200


def test_an_indexs_signature_covers_what_it_names(repository: str, get: Get, require: Callable[..., None]) -> None:
    child, content = push_image(repository, "child")
    parent = push.manifest(repository, "multi", index(content), manifests.OCI_INDEX).digest
    require(enable_content_trust_cosign="true")
    assert get(child).status == 412
    attach(repository, parent)
    assert get(child).status == 200
    deletion.manifest(repository, parent)
    assert get(child).status == 412


def test_who_signs_reads_before_there_is_a_signature(repository: str, get: Get, require: Callable[..., None]) -> None:
    push_image(repository, "v1")
    require(enable_content_trust_cosign="true", enable_content_trust="true")
    for agent in ("cosign/v3.0.2 (linux; amd64)", "notation/1.3.2"):
        assert get("v1", agent=agent, actions="pull,push").status == 200
        assert get("v1", agent=agent, admin=True).status == 200, "cosign reads with a token for no more than that"
        assert get("v1", agent=agent).status == 412, "to say so is not enough: it takes the right to push"
    assert get("v1", actions="pull,push").status == 412


def test_what_was_not_scanned_is_not_pulled(repository: str, get: Get, require: Callable[..., None]) -> None:
    digest, content = push_image(repository, "v1")
    push.manifest(repository, "multi", index(content), manifests.OCI_INDEX)
    chart = push_blob(repository, b'{"name": "chart"}', "application/vnd.cncf.helm.config.v1+json")
    push.manifest(repository, "chart", image(chart), manifests.OCI_MANIFEST)
    require(prevent_vul="true", severity="high")
    for reference in ("v1", digest, "multi"):
        assert refusal(get(reference)).startswith("current image without vulnerability scanning cannot be pulled")
    assert 'severity of "High"' in refusal(get("v1", agent="cosign", actions="pull,push"))
    assert get("chart").status == 200
    signature = attach_by_tag(repository, digest)
    assert get(signature).status == 200


def test_berth_itself_reads_whatever_the_policy(repository: str, require: Callable[..., None]) -> None:
    push_image(repository, "v1")
    require(enable_content_trust="true", prevent_vul="true")
    assert pull.manifest(repository, "v1").content


def test_a_policy_costs_no_call_more(repository: str, get: Get, require: Callable[..., None]) -> None:
    digest, _ = push_image(repository, "v1")
    attach(repository, digest)
    require(enable_content_trust_cosign="true")
    get("v1")
    for reference, reads in ((digest, 1), ("v1", 2)):
        with counted() as calls:
            assert get(reference).status == 200
        assert calls.summary == (reads, 0, 0), reference
