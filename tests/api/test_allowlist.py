"""Vulnerabilities that are let pass, of the system and of a project."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.projects import allowlists, rules
from chalicelib.projects.store import allowlists as table
from tests.api.people import as_user, content, new_user
from tests.api.support import call

pytestmark = pytest.mark.usefixtures("administrator", "unset")

URL = "/system/CVEAllowlist"


@pytest.fixture
def unset(cloud: object) -> Iterator[None]:
    table.delete(allowlists.SYSTEM)
    yield
    table.delete(allowlists.SYSTEM)


def listed(*ids: str, **more: Any) -> dict[str, Any]:
    return {"items": [{"cve_id": each} for each in ids], **more}


def test_the_systems_list_is_empty_then_what_was_set() -> None:
    empty = content(call("GET", URL))
    assert (empty["items"], empty["project_id"], empty["expires_at"]) == ([], 0, None)
    body = listed("CVE-2024-3094", "GHSA-rxwq-x6h5-x525", expires_at=2_000_000_000)
    assert call("PUT", URL, body).status == 200
    assert body.items() <= content(call("GET", URL)).items()
    assert call("PUT", URL, listed()).status == 200
    assert content(call("GET", URL))["items"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        listed("CVE-1", "CVE-1"),
        listed(""),
        listed("CVE 1"),
        listed("x" * 200),
        listed(*(f"CVE-{number}" for number in range(2001))),
        {"items": {}},
        {"items": ["CVE-1"]},
        {"items": [{"cve_id": 5}]},
        {"items": [{}]},
        listed("CVE-1", expires_at="soon"),
        listed("CVE-1", expires_at=-1),
        listed("CVE-1", expires_at=2**50),
    ],
)
def test_a_wrong_list_is_refused(wrong: dict[str, Any], project: str) -> None:
    assert call("PUT", URL, wrong).status == 400
    assert call("PUT", f"/projects/{project}", {"cve_allowlist": wrong, "metadata": {"public": "true"}}).status == 400
    assert content(call("GET", f"/projects/{project}"))["metadata"]["public"] == "false"


def test_everyone_reads_the_systems_list_and_administrators_set_it() -> None:
    name, _ = new_user()
    assert as_user(name, "GET", URL).status == 200
    assert as_user(name, "PUT", URL, listed()).status == 403
    for method in ("GET", "PUT"):
        assert call(method, URL, listed(), admin=False).status == 401


def test_a_project_has_its_own_or_goes_by_the_systems(project: str) -> None:
    def in_force() -> frozenset[str]:
        return allowlists.in_force(rules.get(project))

    call("PUT", URL, listed("CVE-1"))
    assert in_force() == {"CVE-1"}
    own = {"metadata": {"reuse_sys_cve_allowlist": "false"}, "cve_allowlist": listed("CVE-2")}
    assert call("PUT", f"/projects/{project}", own).status == 200
    assert in_force() == {"CVE-2"}
    shown = content(call("GET", f"/projects/{project}"))
    assert shown["cve_allowlist"]["items"] == [{"cve_id": "CVE-2"}]
    assert shown["cve_allowlist"]["project_id"] == shown["project_id"]
    (found,) = content(call("GET", f"/projects?name={project}"))
    assert found["cve_allowlist"] == shown["cve_allowlist"]
    assert call("PUT", f"/projects/{project}", {"metadata": {"public": "true"}}).status == 200
    assert in_force() == {"CVE-2"}
    over = listed("CVE-2", expires_at=int(time.time()) - 1)
    assert call("PUT", f"/projects/{project}", {"cve_allowlist": over}).status == 200
    assert in_force() == frozenset()


def test_a_project_that_is_deleted_takes_its_list_along(project: str) -> None:
    number = content(call("GET", f"/projects/{project}"))["project_id"]
    call("PUT", f"/projects/{project}", {"cve_allowlist": listed("CVE-2")})
    assert call("DELETE", f"/projects/{project}").status == 200
    assert table.read([number]) == {}
