"""Copying artifacts from one repository to another."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.artifacts import copying
from chalicelib.http import Response
from chalicelib.oci import digests, manifests
from chalicelib.projects import rules
from chalicelib.registry import pull, push
from chalicelib.registry.store import artifacts
from chalicelib.registry.store import blobs as blob_table
from tests.access.support import basic
from tests.api.people import as_user, content, new_user
from tests.api.support import call, errors_of
from tests.api.test_repository import path
from tests.registry.accessories import attach, attach_by_tag
from tests.registry.images import index, push_image
from tests.registry.test_index_entries import push_cache

pytestmark = pytest.mark.usefixtures("administrator")


@pytest.fixture
def target(make_project: Any, project: str) -> str:
    name = f"{project}-target"
    make_project(name)
    return f"{name}/deep/copy"


def copy(target: str, source: str, user: str = "") -> Response:
    url = f"{path(target, '/artifacts')}?from={quote(source, safe='')}"
    return as_user(user, "POST", url) if user else call("POST", url)


def listed(repository: str) -> list[dict[str, Any]]:
    found = content(call("GET", path(repository, "/artifacts?with_accessory=true")))
    assert isinstance(found, list)
    return found


def test_an_image_is_copied_with_its_tags_and_without_its_bytes(project: str, target: str) -> None:
    source = f"{project}/app"
    digest, manifest = push_image(source, "v1")
    push.manifest(source, "v2", manifest, manifests.OCI_MANIFEST)
    response = copy(target, f"{source}:v1")
    assert response.status == 201
    assert response.headers["Location"].endswith("/artifacts/v1")
    assert content(call("GET", response.headers["Location"].removeprefix("/api/v2.0")))["digest"] == digest
    [found] = listed(target)
    assert [tag["name"] for tag in found["tags"]] == ["v1", "v2"]
    for entry in (json.loads(manifest)["config"], *json.loads(manifest)["layers"]):
        _, here = blob_table.read(source, entry["digest"])
        _, there = blob_table.read(target, entry["digest"])
        assert here is not None
        assert there is not None
        assert here.object_key == there.object_key
    assert copy(target, f"{source}@{digest}").status == 201
    assert len(listed(target)) == 1


def test_an_image_of_another_algorithm_keeps_its_digest(project: str, target: str) -> None:
    source = f"{project}/app"
    _, manifest = push_image(source)
    digest = digests.of(manifest, "sha512")
    push.manifest(source, digest, manifest, manifests.OCI_MANIFEST, tags=["v1", "v2"])
    assert call("POST", path(source, f"/artifacts/{digest}/tags"), {"name": "v3"}).status == 201
    assert copy(target, f"{source}:v1").status == 201
    [found] = listed(target)
    assert (found["digest"], [tag["name"] for tag in found["tags"]]) == (digest, ["v1", "v2", "v3"])


def test_a_cache_is_copied_with_the_blobs_that_its_index_names(project: str, target: str) -> None:
    source = f"{project}/app"
    _, names = push_cache(source)
    assert copy(target, f"{source}:cache").status == 201
    assert content(call("GET", path(target, "/artifacts/cache")))["references"] == []
    assert all(blob_table.read_link(target, name) for name in names)


def test_an_index_comes_with_what_it_names_and_accessories_with_their_subjects(project: str, target: str) -> None:
    source = f"{project}/app"
    child, manifest = push_image(source, "child")
    parent = push.manifest(source, "multi", index(manifest), manifests.OCI_INDEX).digest
    signature, of_child = attach_by_tag(source, parent), attach(source, child)
    sbom = attach(source, parent, "application/spdx+json")
    of_sbom = attach(source, sbom)
    assert copy(target, f"{source}:multi").status == 201
    assert pull.manifest(target, "multi").digest == parent
    assert {each["digest"] for each in listed(target)} == {parent, child}
    assert {each.digest for each in artifacts.accessories_of(target, parent)} == {signature, sbom}
    assert [each.digest for each in artifacts.accessories_of(target, child)] == [of_child]
    assert [each.digest for each in artifacts.accessories_of(target, sbom)] == [of_sbom]
    assert pull.manifest(target, f"{parent.replace(':', '-')}.sig").digest == signature
    assert {tag["name"] for each in listed(target) for tag in each["tags"] or []} == {"multi"}


def test_an_accessory_is_not_copied_alone(project: str, target: str) -> None:
    subject, _ = push_image(f"{project}/app", "v1")
    signature = attach(f"{project}/app", subject)
    response = copy(target, f"{project}/app@{signature}")
    assert (response.status, errors_of(response)) == (403, ["DENIED"])


def test_a_copy_that_broke_off_is_completed_by_the_next(
    project: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manifest = push_image(f"{project}/app", "child")
    push.manifest(f"{project}/app", "multi", index(manifest), manifests.OCI_INDEX)
    real = push.manifest

    def die_at_index(repository: str, reference: str, body: bytes, media_type: str, actor: Any, **more: Any) -> Any:
        if media_type == manifests.OCI_INDEX:
            raise KeyboardInterrupt
        return real(repository, reference, body, media_type, actor, **more)

    with monkeypatch.context() as patch:
        patch.setattr(push, "manifest", die_at_index)
        with pytest.raises(KeyboardInterrupt):
            copy(target, f"{project}/app:multi")
    assert len(listed(target)) == 1
    assert copy(target, f"{project}/app:multi").status == 201
    assert len(listed(target)) == 2


def test_a_copy_of_more_than_fits_a_request_ends_in_time_and_the_next_one_goes_on(
    project: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = [push_image(f"{project}/app", f"child{number}")[1] for number in range(3)]
    push.manifest(f"{project}/app", "multi", index(*children), manifests.OCI_INDEX)
    real, pushed, moment = push.manifest, list[str](), 0.0

    def and_time_passes(repository: str, reference: str, *more: Any, **options: Any) -> Any:
        nonlocal moment
        moment += 15.0
        pushed.append(reference)
        return real(repository, reference, *more, **options)

    monkeypatch.setattr(push, "manifest", and_time_passes)
    monkeypatch.setattr(copying, "time", SimpleNamespace(monotonic=lambda: moment))
    response = copy(target, f"{project}/app:multi")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert len(listed(target)) == 2
    assert copy(target, f"{project}/app:multi").status == 201
    assert len(listed(target)) == 4
    assert len(pushed) == 4, "what the first had copied was pushed again"


@pytest.mark.parametrize(
    "source", ["", "app", "a/b", "a/b:", "a/b@latest", "A/b:c", "a/../b:c", "a/b@sha256:0", "a/b:" + "x" * 200]
)
def test_a_malformed_source_is_refused(target: str, source: str) -> None:
    assert copy(target, source).status == 400


def test_a_source_that_is_not_there_is_not_found(project: str, target: str) -> None:
    push_image(f"{project}/app", "v1")
    for source in (f"{project}/app:none", f"{project}/none:v1", "no-such-project/app:v1"):
        assert copy(target, source).status == 404


def test_it_takes_the_right_to_pull_there_and_to_push_here(project: str, target: str) -> None:
    push_image(f"{project}/app", "v1")
    user, _ = new_user()
    source, into = rules.get(project), rules.get(target.partition("/")[0])
    assert copy(target, f"{project}/app:v1", user).status == 403
    body = {"role_id": 2, "member_user": {"username": user}}
    assert call("POST", f"/projects/{into.name}/members", body).status == 201
    hidden = copy(target, f"{project}/app:v1", user)
    missing = copy(target, "no-such-project/app:v1", user)
    assert (hidden.status, hidden.body) == (missing.status, missing.body)
    assert hidden.status == 403
    assert call("POST", f"/projects/{source.name}/members", {**body, "role_id": 5}).status == 201
    assert copy(target, f"{project}/app:v1", user).status == 201
    assert copy(f"{project}/other", f"{target}:v1", user).status == 403


def test_an_immutable_tag_is_not_moved(project: str, target: str) -> None:
    push_image(f"{project}/app", "v1")
    push_image(target, "v1")
    pattern = {"kind": "doublestar", "pattern": "**"}
    rule = {
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [{**pattern, "decoration": "matches"}],
        "scope_selectors": {"repository": [{**pattern, "decoration": "repoMatches"}]},
    }
    assert call("POST", f"/projects/{target.partition('/')[0]}/immutabletagrules", rule).status == 201
    assert copy(target, f"{project}/app:v1").status == 412


def test_a_robot_copies_within_its_project_without_the_right_to_pull(project: str, target: str) -> None:
    """As in Harbor; what comes from another project could be pulled from the copy, so it must be from there too."""
    push_image(f"{project}/app", "v1")
    push_image(f"{target.partition('/')[0]}/app", "v1")
    access = [{"resource": "artifact", "action": action} for action in ("read", "list", "create")]
    names = (project, target.partition("/")[0])
    grants = [{"kind": "project", "namespace": name, "access": access} for name in names]
    robot = {"name": f"copies-{project}", "level": "system", "duration": 1, "permissions": grants}
    made = content(call("POST", "/robots", robot), 201)
    headers = basic(made["name"], made["secret"])

    def status(source: str) -> int:
        return call(
            "POST", f"{path(f'{project}/copied', '/artifacts')}?from={source}", headers=headers, admin=False
        ).status

    assert status(f"{project}/app:v1") == 201
    assert status(f"{names[1]}/app:v1") == 403
