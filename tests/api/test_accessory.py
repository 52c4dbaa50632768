"""Accessories through Harbor's API."""

from __future__ import annotations

import pytest

from chalicelib.oci import manifests
from chalicelib.registry import push
from tests.api.people import as_user, content, new_user
from tests.api.support import call
from tests.api.test_repository import path
from tests.registry.accessories import NOTATION, attach, attach_by_tag
from tests.registry.images import index, push_image

pytestmark = pytest.mark.usefixtures("administrator")


def test_accessories_are_shown_under_their_subject(project: str) -> None:
    repository = f"{project}/app"
    subject, _ = push_image(repository, "v1")
    cosign, notation = attach_by_tag(repository, subject), attach(repository, subject, NOTATION)
    found = content(call("GET", path(repository, "/artifacts/v1/accessories")))
    assert [(each["digest"], each["type"]) for each in found] == [
        (cosign, "signature.cosign"),
        (notation, "signature.notation"),
    ]
    assert {each["subject_artifact_digest"] for each in found} == {subject}
    assert {each["subject_artifact_repo"] for each in found} == {repository}
    artifact = content(call("GET", path(repository, "/artifacts/v1?with_accessory=true")))
    assert artifact["accessories"] == found
    assert {each["subject_artifact_id"] for each in found} == {artifact["id"]}
    assert "accessories" not in content(call("GET", path(repository, "/artifacts/v1")))
    response = call("GET", path(repository, "/artifacts?with_accessory=true"))
    assert content(response) == [artifact]
    assert response.headers["X-Total-Count"] == "1"
    assert content(call("GET", path(repository)))["artifact_count"] == 1
    assert content(call("GET", path(repository, f"/artifacts/{cosign}")))["digest"] == cosign


def test_accessories_are_filtered_sorted_and_paged(project: str) -> None:
    repository = f"{project}/app"
    subject, _ = push_image(repository, "v1")
    digests = [attach(repository, subject), attach(repository, subject), attach(repository, subject, NOTATION)]
    base = f"/artifacts/{subject}/accessories"

    def listed(query: str) -> list[str]:
        return [each["digest"] for each in content(call("GET", path(repository, f"{base}?{query}")))]

    assert listed("q=type%3Dsignature.notation") == digests[2:]
    assert listed(f"q=digest%3D{digests[0]}") == digests[:1]
    assert listed("sort=-creation_time") == digests[::-1]
    response = call("GET", path(repository, f"{base}?page=2&page_size=2"))
    assert [each["digest"] for each in content(response)] == digests[2:]
    assert response.headers["X-Total-Count"] == "3"
    assert call("GET", path(repository, "/artifacts/none/accessories")).status == 404


def test_an_artifact_without_any_says_so(project: str) -> None:
    push_image(f"{project}/app", "v1")
    artifact = content(call("GET", path(f"{project}/app", "/artifacts/v1?with_accessory=true")))
    assert artifact["accessories"] is None
    assert content(call("GET", path(f"{project}/app", "/artifacts/v1/accessories"))) == []
    assert call("GET", path(f"{project}/app", "/artifacts?with_accessory=perhaps")).status == 400


def test_a_child_inherits_the_signatures_of_its_index(project: str) -> None:
    repository = f"{project}/app"
    child, manifest = push_image(repository, "child")
    parent = push.manifest(repository, "multi", index(manifest), manifests.OCI_INDEX).digest
    url = path(repository, f"/artifacts/{child}?with_inherited_accessory=true&with_accessory=true")
    assert "inherited_accessories" not in content(call("GET", url))
    signature = attach(repository, parent)
    attach(repository, parent, "application/spdx+json")
    artifact = content(call("GET", url))
    assert artifact["accessories"] is None
    [inherited] = artifact["inherited_accessories"]
    assert (inherited["digest"], inherited["subject_artifact_digest"]) == (signature, parent)


def test_deleting_the_subject_deletes_them_unless_a_tag_must_stay(project: str) -> None:
    repository = f"{project}/app"
    subject, _ = push_image(repository, "v1")
    signature = attach_by_tag(repository, subject)
    rule = {
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "sha256-*"}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}],
        },
    }
    assert call("POST", f"/projects/{project}/immutabletagrules", rule).status == 201
    assert call("DELETE", path(repository, "/artifacts/v1")).status == 412
    assert content(call("GET", path(repository, f"/artifacts/{signature}")))
    assert content(call("GET", path(repository, "/artifacts/v1")))
    [kept] = content(call("GET", f"/projects/{project}/immutabletagrules"))
    assert call("DELETE", f"/projects/{project}/immutabletagrules/{kept['id']}").status == 200
    assert call("DELETE", path(repository, "/artifacts/v1")).status == 200
    assert call("GET", path(repository, f"/artifacts/{signature}")).status == 404


def test_who_may_not_see_the_project_gets_what_a_missing_one_gets(project: str) -> None:
    subject, _ = push_image(f"{project}/app", "v1")
    attach(f"{project}/app", subject)
    user, _ = new_user()
    answers = [
        as_user(user, "GET", path(f"{each}/app", "/artifacts/v1/accessories")) for each in (project, "no-such-project")
    ]
    assert [answer.status for answer in answers] == [403, 403]
    assert answers[0].body == answers[1].body


def test_artifacts_are_filtered_by_tags_labels_size_and_time(project: str) -> None:
    repository = f"{project}/app"
    tagged, _ = push_image(repository, "v1")
    large, _ = push_image(repository, "v2", layers=9)
    untagged, _ = push_image(repository, "gone")
    assert call("DELETE", path(repository, "/artifacts/gone/tags/gone")).status == 200
    label = call("POST", "/labels", {"name": f"{project}-label", "scope": "g"})
    number = int(label.headers["Location"].rpartition("/")[2])
    assert call("POST", path(repository, "/artifacts/v1/labels"), {"id": number}).status == 200

    def listed(query: str) -> set[str]:
        return {each["digest"] for each in content(call("GET", path(repository, f"/artifacts?q={query}")))}

    assert listed("tags%3D*") == {tagged, large}
    assert listed("tags%3Dnil") == {untagged}
    assert listed("tags%3D~v") == {tagged, large}
    assert listed(f"labels%3D({number})") == {tagged}
    assert listed(f"labels%3D({number} 12345)") == set()
    size = content(call("GET", path(repository, "/artifacts/v2")))["size"]
    assert listed(f"size%3D[{size}~]") == {large}
    assert listed("size%3D[~99999999]") == {tagged, large, untagged}
    assert listed("push_time%3D[2020-04-09 02:36:00~2020-04-09 02:37:00]") == set()
    assert listed("push_time%3D[2020-04-09 02:36:00~]") == {tagged, large, untagged}
    assert listed("type%3DIMAGE,tags%3Dv2") == {large}
