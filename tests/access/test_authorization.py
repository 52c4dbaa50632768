from __future__ import annotations

import uuid

import pytest

from chalicelib import project_deletion
from chalicelib.access import keys
from chalicelib.access.authentication import ANONYMOUS, REGISTRY_AUDIENCE, Caller, authenticate
from chalicelib.access.authorization import (
    authorize,
    authorize_catalog,
    may_sign,
    permitted,
    require_authentication,
    visible_projects,
)
from chalicelib.http import Request, to_response
from chalicelib.oci.errors import Denied, NameUnknown, RegistryError, Unauthorized
from chalicelib.projects import rules
from tests.access.support import BASIC, bearer, request, token_for

pytestmark = pytest.mark.usefixtures("administrator")

ADMIN = Caller("admin", 1, is_admin=True)
USER = Caller("someone", 99999)


def names(caller: Caller) -> list[str]:
    return [project.name for project in visible_projects(caller)]


def outcome(caller: Caller, action: str, repository: str) -> type[RegistryError] | None:
    try:
        authorize(caller, action, repository, request("GET", f"/v2/{repository}/tags/list"))
    except RegistryError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("caller", "pull_public", "push_public", "pull_private"),
    [
        (ANONYMOUS, None, Unauthorized, Unauthorized),
        (USER, None, Denied, Denied),
        (ADMIN, None, None, None),
    ],
)
def test_what_each_role_may_do(
    caller: Caller,
    pull_public: type[RegistryError] | None,
    push_public: type[RegistryError] | None,
    pull_private: type[RegistryError] | None,
    public_project: str,
    private_project: str,
) -> None:
    assert outcome(caller, "pull", f"{public_project}/a") is pull_public
    assert outcome(caller, "push", f"{public_project}/a") is push_public
    assert outcome(caller, "delete", f"{public_project}/a") is push_public
    assert outcome(caller, "pull", f"{private_project}/a") is pull_private


@pytest.mark.parametrize("caller", [ANONYMOUS, USER, Caller("someone", grants={})])
@pytest.mark.parametrize("action", ["pull", "push", "delete"])
def test_a_private_project_answers_as_a_missing_one(caller: Caller, action: str, private_project: str) -> None:
    missing = f"private-{uuid.uuid4().hex[:8]}"
    answers = []
    for project in (private_project, missing):
        with pytest.raises((Unauthorized, Denied)) as caught:
            authorize(caller, action, f"{project}/a", request("GET", f"/v2/{project}/a/tags/list"))
        response = to_response(caught.value)
        challenge = response.headers.get("WWW-Authenticate", "").replace(project, "<project>")
        answers.append((response.status, challenge, response.body.replace(project.encode(), b"<project>")))
    assert answers[0] == answers[1]


def test_the_administrator_is_told_that_a_project_is_missing() -> None:
    with pytest.raises(NameUnknown, match="create it first"):
        authorize(ADMIN, "push", "no-such-project/a", request("POST", "/v2/no-such-project/a/blobs/uploads/"))


def test_a_token_gives_what_it_says_and_no_more(private_project: str) -> None:
    token = token_for(BASIC, f"repository:{private_project}/a:pull")
    caller = authenticate(request("GET", "/v2/", bearer(token)))
    assert outcome(caller, "pull", f"{private_project}/a") is None
    assert outcome(caller, "push", f"{private_project}/a") is Unauthorized
    assert outcome(caller, "pull", f"{private_project}/b") is Unauthorized
    assert outcome(caller, "pull", f"{private_project}/a/b") is Unauthorized


def test_the_challenge_of_a_token_without_the_scope_says_so(private_project: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        authorize(Caller("admin", grants={}), "push", f"{private_project}/a", request("PUT", "/v2/x"))
    challenge = caught.value.headers["WWW-Authenticate"]
    assert f'scope="repository:{private_project}/a:pull,push"' in challenge
    assert 'error="insufficient_scope"' in challenge


def test_a_push_token_outlives_its_project_in_vain() -> None:
    project = rules.create(f"gone-{uuid.uuid4().hex[:8]}", "admin", public=False)
    caller = authenticate(request("GET", "/v2/", bearer(token_for(BASIC, f"repository:{project.name}/a:push"))))
    project_deletion.delete(project)
    assert outcome(caller, "push", f"{project.name}/a") is NameUnknown


def test_permitted_for_a_mount_is_what_authorize_grants(public_project: str, private_project: str) -> None:
    assert permitted(ANONYMOUS, f"{public_project}/a") == {"pull"}
    assert permitted(ANONYMOUS, f"{private_project}/a") == frozenset()
    assert permitted(Caller("admin", grants={}), f"{public_project}/a") == {"pull"}
    assert permitted(Caller("admin", grants={}), f"{private_project}/a") == frozenset()


def test_the_catalog_is_the_administrators() -> None:
    sent: Request = request("GET", "/v2/_catalog")
    authorize_catalog(ADMIN, sent)
    authorize_catalog(Caller("admin", grants={}, sees_catalog=True), sent)
    with pytest.raises(Denied):
        authorize_catalog(USER, sent)
    for caller in (ANONYMOUS, Caller("admin", grants={})):
        with pytest.raises(Unauthorized) as caught:
            authorize_catalog(caller, sent)
        assert 'scope="registry:catalog:*"' in caught.value.headers["WWW-Authenticate"]


def test_the_catalog_shows_private_projects_to_who_sees_all(public_project: str, private_project: str) -> None:
    assert {public_project, private_project} <= set(names(ADMIN))
    assert public_project in names(ANONYMOUS)
    assert private_project not in names(ANONYMOUS)


def test_the_base_asks_nobody_to_log_in_and_lets_any_token_pass() -> None:
    with pytest.raises(Unauthorized):
        require_authentication(ANONYMOUS, request("GET", "/v2/"))
    require_authentication(authenticate(request("GET", "/v2/", bearer(token_for(None)))), request("GET", "/v2/"))
    require_authentication(ADMIN, request("GET", "/v2/"))


@pytest.mark.parametrize("public", [False, True])
def test_a_token_ends_with_its_project_though_another_takes_the_name(public: bool) -> None:
    project = rules.create(f"again-{uuid.uuid4().hex[:8]}", "admin", public=False)
    repository = f"{project.name}/a"
    old = authenticate(request("GET", "/v2/", bearer(token_for(BASIC, f"repository:{repository}:pull,push,delete"))))
    project_deletion.delete(project)
    rules.create(project.name, "someone", public=public)
    assert outcome(old, "push", repository) is Unauthorized
    assert outcome(old, "delete", repository) is Unauthorized
    assert outcome(old, "pull", repository) is (None if public else Unauthorized)
    assert not may_sign(old, repository)
    new = authenticate(request("GET", "/v2/", bearer(token_for(BASIC, f"repository:{repository}:pull,push"))))
    assert outcome(new, "push", repository) is None


@pytest.fixture
def forgotten_remake() -> tuple[str, Caller, Caller]:
    """A project remade by another process: this one still remembers what had the name; with an old and a new bearer."""
    project = rules.create(f"remade-{uuid.uuid4().hex[:8]}", "admin", public=False)
    repository = f"{project.name}/a"
    scope = f"repository:{repository}:pull,push,delete"
    old = authenticate(request("GET", "/v2/", bearer(token_for(BASIC, scope))))
    remembered = rules.find(project.name)
    project_deletion.delete(project)
    rules.create(project.name, "someone", public=False)
    new = authenticate(request("GET", "/v2/", bearer(token_for(BASIC, scope))))
    rules._found.put(project.name, remembered, 30)
    return repository, old, new


@pytest.mark.parametrize("action", ["push", "delete"])
def test_a_write_is_let_in_by_the_project_that_has_the_name_now(
    forgotten_remake: tuple[str, Caller, Caller], action: str
) -> None:
    repository, old, _ = forgotten_remake
    assert outcome(old, action, repository) is Unauthorized


@pytest.mark.parametrize("action", ["pull", "push", "delete"])
def test_a_token_of_a_newer_project_than_is_remembered_is_let_in(
    forgotten_remake: tuple[str, Caller, Caller], action: str
) -> None:
    repository, _, new = forgotten_remake
    assert outcome(new, action, repository) is None


def test_a_token_without_a_projects_number_grants_nothing(private_project: str) -> None:
    access = [{"type": "repository", "name": f"{private_project}/a", "actions": ["pull", "push"]}]
    token = keys.sign({"sub": "admin", "access": access}, REGISTRY_AUDIENCE, 60)
    caller = authenticate(request("GET", "/v2/", bearer(token)))
    assert outcome(caller, "pull", f"{private_project}/a") is Unauthorized
    assert outcome(caller, "push", f"{private_project}/a") is Unauthorized
