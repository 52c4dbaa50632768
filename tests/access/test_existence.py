"""What a caller may not see shows neither by words, status, nor by how many calls of the stores the refusal takes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable

import pytest

from chalicelib.access import accounts, memberships
from chalicelib.access.authentication import Caller
from chalicelib.artifacts import labels
from chalicelib.http import Request, Response
from chalicelib.projects import rules
from chalicelib.registry import blobs
from chalicelib.v2 import routes
from tests.access.support import ORIGIN, basic, get_token
from tests.api.people import PASSWORD, new_user
from tests.api.support import call
from tests.registry.images import LAYER, push_blob, push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("administrator")

Ask = Callable[[str, dict[str, str]], Response]


def protocol(method: str, path: str, **query: str) -> Ask:
    def ask(project: str, headers: dict[str, str]) -> Response:
        return routes.handle(Request(method, f"/v2/{project}/app/{path}", query, headers, b"", ORIGIN))

    return ask


def api(method: str, url: str, body: object = None) -> Ask:
    return lambda project, headers: call(method, url.format(project), body, headers=headers, admin=False)


def mount_from(project: str, headers: dict[str, str]) -> Response:
    query = {"mount": f"sha256:{'1' * 64}", "from": f"{project}/app"}
    return routes.handle(Request("POST", "/v2/mine/app/blobs/uploads/", query, headers, b"", ORIGIN))


ASKS: dict[str, Ask] = {
    "REST": api("GET", "/projects/{}"),
    "REST, HEAD": api("HEAD", "/projects?project_name={}"),
    "REST, artifacts": api("GET", "/projects/{}/repositories/app/artifacts"),
    "token": lambda project, headers: get_token(headers, scope=[f"repository:{project}/app:pull,push"]),
    "manifest": protocol("GET", "manifests/v1"),
    "blob": protocol("HEAD", f"blobs/sha256:{'1' * 64}"),
    "upload": protocol("POST", "blobs/uploads/"),
    "mount": mount_from,
}


@pytest.fixture
def stranger() -> dict[str, str]:
    """A user without any role, who was here before: credentials are remembered."""
    name, _ = new_user()
    headers = basic(name, PASSWORD)
    call("GET", "/users/current", headers=headers, admin=False)
    get_token(headers)
    return headers


def forget_roles_and_names() -> None:
    rules._found.clear()
    rules._looked_at.clear()
    memberships._roles.clear()


def neutral(response: Response, project: str) -> tuple[int, bytes]:
    body = response.body
    if b'"token"' in body:
        body = b"a token"
    return response.status, body.replace(project.encode(), b"NAME")


@pytest.mark.parametrize("name", ASKS)
@pytest.mark.parametrize("who", ["stranger", "nobody"])
def test_a_private_project_takes_as_many_calls_as_none(name: str, who: str, stranger: dict[str, str]) -> None:
    """The first time, the next, and when a record would be remembered still, but not that there is none."""
    headers = stranger if who == "stranger" else {}
    found = []
    for is_there in (True, False):
        project = f"p{uuid.uuid4().hex[:12]}"
        if is_there:
            rules.create(project, "admin", public=False)
            push_image(f"{project}/app")
        forget_roles_and_names()
        costs = []
        for turn in range(3):
            if turn == 2:
                if rules._found.get(project) == (None,):
                    rules._found.drop(project)  # as 2 seconds do
                rules._looked_at.clear()
            accounts.administrator()  # is remembered for half a minute, which must not be over within
            with counted() as calls:
                response = ASKS[name](project, headers)
            costs.append((neutral(response, project), sorted(calls)))
        found.append(costs)
    assert found[0] == found[1]


def test_a_mount_without_a_source_takes_as_many_calls_wherever_the_digest_is(project: str, repository: str) -> None:
    """Only repositories of the same project are looked at: other tenants' blobs are nobody's business."""
    elsewhere = f"sha256:{os.urandom(32).hex()}"
    for index in range(3):
        other = rules.create(f"o{uuid.uuid4().hex[:12]}", "admin", public=index == 0).name
        elsewhere = push_blob(f"{other}/app", b"the same everywhere" + project.encode(), LAYER)["digest"]
    caller = Caller("admin", 1, is_admin=True)
    costs = []
    for digest in (elsewhere, f"sha256:{os.urandom(32).hex()}"):
        with counted() as calls:
            assert blobs.mount(caller, repository, digest, "") is False
        costs.append(sorted(calls))
    assert costs[0] == costs[1] == [("dynamodb", "Query")]


def test_a_label_of_another_project_is_refused_as_one_that_is_not_there(project: str, stranger: dict[str, str]) -> None:
    digest, _ = push_image(f"{project}/app")
    other = rules.create(f"o{uuid.uuid4().hex[:12]}", "admin", public=False)
    number = labels.create(other.project_id, "secret", "", "").number
    path = f"/projects/{project}/repositories/app/artifacts/{digest}/labels"
    texts, costs = set(), []
    call("GET", path)
    for label in (number, 987654):
        with counted() as calls:
            answer = call("POST", path, {"id": label})
        texts.add((answer.status, answer.body.decode().replace(str(label), "N")))
        costs.append(sorted(calls))
    assert (len(texts), costs[0]) == (1, costs[1])
    costs = []
    for label in (number, 987654):
        forget_roles_and_names()
        with counted() as calls:
            assert call("GET", f"/labels/{label}", headers=stranger, admin=False).status in (403, 404)
        costs.append(sorted(calls))
    assert costs[0] == costs[1]
