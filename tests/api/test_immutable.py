"""Immutable tags through Harbor's API, and what pushes and deletes make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.api import dispatch
from chalicelib.http import Request, Response
from chalicelib.oci import manifests
from chalicelib.oci.errors import Immutable
from chalicelib.projects import rules
from chalicelib.registry import deletion, push
from tests.access.support import BASIC, ORIGIN
from tests.api.support import call, errors_of
from tests.registry.images import image, index, push_blob, push_image

pytestmark = pytest.mark.usefixtures("administrator")


def rule(tags: str = "v*", repositories: str = "**", **more: Any) -> dict[str, Any]:
    return {
        "priority": 0,
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": tags}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": repositories}]
        },
        **more,
    }


def add(project: str, document: dict[str, Any]) -> int:
    response = call("POST", f"/projects/{project}/immutabletagrules", document)
    assert response.status == 201, response.body
    return int(response.headers["Location"].rpartition("/")[2])


def listed(project: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call("GET", f"/projects/{project}/immutabletagrules").body)
    return found


def is_shown_immutable(project: str, tag: str) -> bool:
    found = json.loads(call("GET", f"/projects/{project}/repositories/app/artifacts/{tag}/tags").body)
    return bool(next(each["immutable"] for each in found if each["name"] == tag))


def is_refused(response: Response) -> bool:
    return (response.status, errors_of(response) if response.body else []) == (412, ["PRECONDITION"])


def test_a_rule_is_made_changed_disabled_and_deleted(project: str) -> None:
    number = add(project, rule())
    [made] = listed(project)
    assert (made["id"], made["disabled"], made["tag_selectors"][0]["pattern"]) == (number, False, "v*")
    where = f"/projects/{project}/immutabletagrules/{number}"
    assert call("PUT", where, {**made, "disabled": True}).status == 200
    assert listed(project)[0]["disabled"] is True
    assert call("PUT", where, {**made, "id": number + 1}).status == 400
    assert call("PUT", f"{where}9", {**made, "id": int(f"{number}9")}).status == 404
    assert call("DELETE", where).status == 200
    assert call("DELETE", where).status == 404
    assert listed(project) == []


def test_the_same_rule_is_there_once(project: str) -> None:
    add(project, rule())
    assert call("POST", f"/projects/{project}/immutabletagrules", rule(priority=3)).status == 409
    second = add(project, rule("x"))
    document = {**rule(), "id": second}
    assert call("PUT", f"/projects/{project}/immutabletagrules/{second}", document).status == 409


@pytest.mark.parametrize(
    "document",
    [
        {},
        rule("["),
        rule(""),
        rule(action="retain"),
        rule(template="other"),
        rule(priority="high"),
        rule(disabled="no"),
        rule(tag_selectors=[]),
        rule(tag_selectors="v*"),
        rule(tag_selectors=["v*"]),
        rule(tag_selectors=[{"kind": "label", "decoration": "matches", "pattern": "*"}]),
        rule(tag_selectors=[{"kind": "doublestar", "decoration": "repoMatches", "pattern": "*"}]),
        rule(tag_selectors=[{"kind": "doublestar", "decoration": "matches", "pattern": "\ud800"}]),
        rule(tag_selectors=[{"kind": "doublestar", "decoration": "matches", "pattern": "*", "extras": "[]"}]),
        rule(scope_selectors={}),
        rule(scope_selectors={"project": []}),
    ],
)
def test_what_is_no_rule_is_refused(project: str, document: dict[str, Any]) -> None:
    assert call("POST", f"/projects/{project}/immutabletagrules", document).status == 400
    assert listed(project) == []


def test_a_project_has_up_to_fifteen_rules(project: str) -> None:
    for number in range(15):
        add(project, rule(f"v{number}"))
    assert call("POST", f"/projects/{project}/immutabletagrules", rule("v15")).status == 400


def test_an_immutable_tag_cannot_be_moved_and_others_can(project: str) -> None:
    add(project, rule(repositories="app"))
    _, content = push_image(f"{project}/app", "v1")
    with pytest.raises(Immutable, match=r"'app:v1' configured as immutable"):
        push_image(f"{project}/app", "v1")
    push.manifest(f"{project}/app", "v1", content, manifests.OCI_MANIFEST)  # where it points already
    for repository, tag in (("app", "latest"), ("other", "v1")):
        push_image(f"{project}/{repository}", tag)
        push_image(f"{project}/{repository}", tag)
    assert is_shown_immutable(project, "v1")
    assert not is_shown_immutable(project, "latest")


def test_an_immutable_tag_cannot_be_deleted_nor_what_it_names(project: str) -> None:
    digest, _ = push_image(f"{project}/app", "v1")
    where = f"/projects/{project}/repositories/app"
    assert call("POST", f"{where}/artifacts/v1/tags", {"name": "latest"}).status == 201
    number = add(project, rule())
    assert is_refused(call("DELETE", f"{where}/artifacts/v1/tags/v1"))
    assert is_refused(call("DELETE", f"{where}/artifacts/{digest}"))
    assert is_refused(call("DELETE", where))
    for reference in ("v1", digest):
        with pytest.raises(Immutable):
            deletion.manifest(f"{project}/app", reference)
    assert call("DELETE", f"{where}/artifacts/v1/tags/latest").status == 200
    assert call("GET", f"{where}/artifacts/v1").status == 200
    assert call("DELETE", f"/projects/{project}/immutabletagrules/{number}").status == 200
    assert call("DELETE", where).status == 200


def test_a_refused_delete_leaves_the_manifest_as_it_was(project: str) -> None:
    """What it names can be pushed on, and an index can name it."""
    child = image(push_blob(f"{project}/app", b"{}"), push_blob(f"{project}/app", b"layer"))
    digest = push.manifest(f"{project}/app", "v1", child, manifests.OCI_MANIFEST).digest
    add(project, rule())
    with pytest.raises(Immutable):
        deletion.manifest(f"{project}/app", digest)
    push.manifest(f"{project}/app", "v2", index(child), manifests.OCI_INDEX)


def test_excludes_and_disabled_rules(project: str) -> None:
    excluding = [{"kind": "doublestar", "decoration": "excludes", "pattern": "{dev,test}-*"}]
    number = add(project, rule(tag_selectors=excluding))
    push_image(f"{project}/app", "dev-1")
    push_image(f"{project}/app", "dev-1")
    push_image(f"{project}/app", "1.0")
    with pytest.raises(Immutable):
        push_image(f"{project}/app", "1.0")
    [made] = listed(project)
    call("PUT", f"/projects/{project}/immutabletagrules/{number}", {**made, "disabled": True})
    push_image(f"{project}/app", "1.0")


def test_settings_and_rules_do_not_overwrite_each_other(project: str) -> None:
    add(project, rule())
    assert call("PUT", f"/projects/{project}", {"metadata": {"auto_scan": "true"}}).status == 200
    assert len(listed(project)) == 1
    assert rules.get(project).metadata == {"auto_scan": "true"}


def test_who_may_not_see_a_project_sees_no_rules(project: str) -> None:
    for name in (project, "nosuchproject"):
        response = call("GET", f"/projects/{name}/immutabletagrules", admin=False)
        assert response.status == 401
    assert call("GET", "/projects/nosuchproject/immutabletagrules").status == 404


def test_a_selector_without_a_kind_is_a_doublestar(project: str) -> None:
    """Harbor's command line sends none."""
    document = rule()
    for selectors in (document["tag_selectors"], document["scope_selectors"]["repository"]):
        for selector in selectors:
            del selector["kind"]
    assert call("POST", f"/projects/{project}/immutabletagrules", document).status == 201
    [made] = listed(project)
    assert {each["kind"] for each in (*made["tag_selectors"], *made["scope_selectors"]["repository"])} == {"doublestar"}


@pytest.mark.parametrize(
    "where", ["immutabletagrules/0", "webhook/policies/999999", "members/999999", "metadatas/none"]
)
def test_what_is_not_there_is_looked_for_before_the_body(project: str, where: str) -> None:
    headers = {**BASIC, "content-type": "application/json"}
    path = f"/api/v2.0/projects/{project}/{where}"
    assert dispatch.handle(Request("PUT", path, {}, headers, b"null", ORIGIN)).status == 404
