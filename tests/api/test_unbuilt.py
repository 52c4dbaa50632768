"""What is not built: each of Harbor's operations is answered as itself, none as a repository's name."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from chalicelib.api import dispatch, operations
from tests.api.contract import SWAGGER, described
from tests.api.people import content
from tests.api.support import call, errors_of
from tests.api.test_repository import path
from tests.registry.images import push_image

pytestmark = pytest.mark.usefixtures("administrator")

assert dispatch.handle  # whose import registers the operations
UNBUILT = {f"{each.method} {each.path}": each.missing for each in operations.unbuilt()}


@pytest.mark.skipif(not SWAGGER.exists(), reason="Harbor's swagger is not here")
def test_every_operation_of_harbors_is_answered() -> None:
    built = {f"{each.method} {each.path}" for each in operations.registered() if not each.is_own}
    assert built | UNBUILT.keys() == {f"{method} {where}" for method, where, _ in described()}
    assert not built & UNBUILT.keys()


@pytest.mark.parametrize("name", sorted(UNBUILT))
def test_one_text_says_what_is_missing(name: str, project: str) -> None:
    method, where = name.split(" ")
    push_image(f"{project}/app", "v1")
    values = {"project_name": project, "project_name_or_id": project, "repository_name": "app", "reference": "v1"}
    url = re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "7"), where)
    response = call(method, url, None if method == "GET" else {})
    if response.status != 200:
        assert response.status in (404, 501)
        assert json.loads(response.body)["errors"][0]["message"] == f"not built in Berth yet: {UNBUILT[name]}"


@pytest.mark.parametrize(
    ("where", "nothing"),
    [
        ("/scanners", []),
        ("/projects/{}/scanner", {}),
        ("/projects/{}/scanner/candidates", []),
        ("/system/scanAll/schedule", {}),
        ("/scans/all/metrics", {"total": 0, "completed": 0, "metrics": {}, "ongoing": False}),
        ("/export/cve/executions", {"items": []}),
        ("/security/vul", []),
        ("/replication/policies", []),
        ("/replication/executions", []),
        ("/p2p/preheat/instances", []),
        ("/p2p/preheat/providers", []),
        ("/projects/{}/preheat/policies", []),
        ("/projects/{}/preheat/providers", []),
    ],
)
def test_where_there_is_nothing_a_read_says_so(where: str, nothing: Any, project: str) -> None:
    response = call("GET", f"{where.format(project)}?page=0&page_size=0")
    assert content(response) == nothing
    assert response.headers.get("X-Total-Count") == ("0" if nothing == [] else None)


def test_there_are_no_vulnerabilities() -> None:
    assert not any(content(call("GET", "/security/summary")).values())


@pytest.mark.parametrize("addition", ["vulnerabilities", "sbom"])
def test_an_artifact_that_was_not_scanned_has_no_report(project: str, addition: str) -> None:
    push_image(f"{project}/deep/app", "v1")
    assert content(call("GET", path(f"{project}/deep/app", f"/artifacts/v1/additions/{addition}"))) == {}
    assert call("GET", path(f"{project}/deep/app", f"/artifacts/v2/additions/{addition}")).status == 404


def test_a_scan_is_no_repository(project: str) -> None:
    push_image(f"{project}/app", "v1")
    for url in ("/artifacts/v1/scan", "/artifacts/v1/scan/stop"):
        response = call("POST", path(f"{project}/app", url), {})
        assert (response.status, errors_of(response)) == (501, ["NOT_IMPLEMENTED"])
    assert b"scanners" in call("GET", path(f"{project}/app", "/artifacts/v1/scan/x/log")).body
