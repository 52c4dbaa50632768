"""Each operation, called by everybody about each project: allowed exactly where Harbor allows it (rights.py).

And no call tells a private project from one that is not there, to who may not see it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from chalicelib.access import roles
from chalicelib.access.roles import Permission, Role
from chalicelib.api import dispatch, operations
from chalicelib.http import Response
from chalicelib.v2 import routes
from tests.access.support import bearer, get_token, json_of, request
from tests.access.test_roles import ANYONE, EXPECTED
from tests.api import world as worlds
from tests.api.rights import RIGHTS, Right
from tests.api.world import Place, Who, World
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("administrator")

assert dispatch.handle  # whose import registers the operations
EVERY = sorted(f"{each.method} {each.path}" for each in (*operations.registered(), *operations.unbuilt()))
"""Those as well of which nothing is built: they tell no more of a project than others."""
OF_PROJECTS = [name for name in EVERY if name in RIGHTS and RIGHTS[name].kind == "project"]
NUMBERED = [name for name in OF_PROJECTS if RIGHTS[name].hidden and "{" in name]
"""What is named by a number of its own, in place of the project's."""


@pytest.fixture(scope="module")
def world(cloud: object) -> World:
    from tests.access.support import be_administrator

    be_administrator()
    return worlds.new_world()


def test_every_operation_has_an_entry() -> None:
    missing = set(EVERY) - set(RIGHTS)
    assert not missing, f"say in tests/api/rights.py what Harbor's handlers require for {sorted(missing)}"


def test_harbors_table_of_roles_is_berths() -> None:
    assert {role: EXPECTED[role] for role in Role} == roles.OF_ROLE
    assert ANYONE == roles.OF_ANYONE
    asked = {right.permission for right in RIGHTS.values() if right.kind == "project"}
    assert asked <= roles.ALL


@pytest.mark.parametrize("operation", [name for name in EVERY if name in RIGHTS])
def test_who_may_call(operation: str, world: World) -> None:
    right = RIGHTS[operation]
    wrong = []
    for place in world.places:
        for who in world.everybody:
            if not who.is_valid and place is not world.places[0]:
                continue  # wrong credentials are refused before it is looked for a project
            expected = is_allowed(right, who, place)
            status = send(operation, right, who, place).status
            refusals = {401, 403} | ({404} if right.hidden else set())
            if expected is not None and expected == (status in refusals):
                wrong.append(
                    f"{who.name}, {place.name} project: {status}, should be {'let' if expected else 'refused'}"
                )
    assert not wrong, f"{operation}\n" + "\n".join(wrong)


def is_allowed(right: Right, who: Who, place: Place) -> bool | None:
    """What Harbor does. None where it depends on more than the permission."""
    known = bool(who.headers)
    if not who.is_valid or right.kind == "nobody":
        return False
    if right.kind == "open" or who.is_admin:
        return True
    if right.kind == "user":
        return None if who.is_robot else known
    outside = {
        "login": known,
        "administrator": False,
        "project-admin": who.role is Role.PROJECT_ADMIN,
        "project-creator": Permission("project", "create") in who.in_system if who.is_robot else known,
        "system": right.permission in who.in_system,
    }
    return outside[right.kind] if right.kind in outside else right.permission in permissions(who, place)


def permissions(who: Who, place: Place) -> frozenset[Permission]:
    allowed = ANYONE if place.project.public else frozenset()
    if place.is_own and who.role:
        allowed |= EXPECTED[who.role]
    if place.is_own and not place.project.public:
        allowed |= who.in_own  # a robot is of one project
    return allowed | who.in_all


def send(operation: str, right: Right, who: Who, place: Place) -> Response:
    query = right.query(place)
    path = place.path(operation) + (f"?{query}" if query else "")
    response: Response = who.send(operation.partition(" ")[0], path, right.body(place))
    return response


def blind(world: World) -> list[Who]:
    """All who may not see the other private project."""
    place = next(each for each in world.places if not each.is_own and not each.project.public)
    reads = Permission("project", "read")
    return [
        who for who in world.everybody if who.is_valid and not who.is_admin and reads not in permissions(who, place)
    ]


@pytest.mark.parametrize("operation", [name for name in OF_PROJECTS if name not in NUMBERED])
def test_a_private_project_answers_as_one_that_is_not_there(operation: str, world: World) -> None:
    right = RIGHTS[operation]
    private = next(each for each in world.places if not each.is_own and not each.project.public)
    absent = worlds.missing(private)
    for who in blind(world):
        answers = []
        for place in (private, absent):
            response, calls = settled(partial(send, operation, right, who, place))
            answers.append((response.status, neutral(response.body.decode(), place), response.headers, calls))
        assert answers[0] == answers[1], who.name


@pytest.mark.parametrize("operation", NUMBERED)
def test_what_has_a_number_of_its_own_answers_as_what_is_not_there(operation: str, world: World) -> None:
    right = RIGHTS[operation]
    private = next(each for each in world.places if not each.is_own and not each.project.public)
    present = private.path(operation)
    number = next(part for part in present.split("/") if part.isdigit())
    for who in blind(world):
        answers = []
        for path in (present, present.replace(number, "999999998", 1)):
            response = who.send(operation.partition(" ")[0], path, right.body(private))
            body = response.body.decode().replace(number, "NUMBER").replace("999999998", "NUMBER")
            answers.append((response.status, body, response.headers))
        assert answers[0] == answers[1], who.name


DIGEST = f"sha256:{'0' * 64}"
PROTOCOL = [
    *(
        (method, f"manifests/{reference}")
        for method in ("GET", "HEAD", "PUT", "DELETE")
        for reference in ("v1", DIGEST)
    ),
    *((method, f"blobs/{DIGEST}") for method in ("GET", "HEAD", "DELETE")),
    ("GET", "tags/list"),
    ("GET", f"referrers/{DIGEST}"),
    ("POST", "blobs/uploads/"),
    *((method, f"blobs/uploads/{'0' * 32}") for method in ("GET", "PATCH", "PUT", "DELETE")),
]
ACTIONS = {"GET": "pull", "HEAD": "pull", "PUT": "push", "POST": "push", "PATCH": "push", "DELETE": "delete"}


def action_of(method: str, path: str) -> str:
    return "push" if path.startswith("blobs/uploads") else ACTIONS[method]


@pytest.mark.parametrize(("method", "path"), PROTOCOL)
def test_who_may_use_the_protocol(method: str, path: str, world: World) -> None:
    """With the account's own credentials, and with a token for them."""
    wrong = []
    for place in world.places:
        for who in world.everybody:
            if not who.is_valid:
                continue
            repository = f"{place.project.name}/none"
            allowed = protocol(who, place)
            for kind, headers in (("Basic", who.headers), ("token", token(who, repository))):
                status = protocol_call(method, repository, path, headers).status
                if (action_of(method, path) in allowed) == (status in (401, 403)):
                    wrong.append(f"{who.name} by {kind}, {place.name} project: {status}")
    assert not wrong, "\n".join(wrong)


def protocol(who: Who, place: Place) -> set[str]:
    if who.is_admin:
        return {"pull", "push", "delete"}
    allowed = permissions(who, place)
    return {action for action in ("pull", "push", "delete") if Permission("repository", action) in allowed}


def token(who: Who, repository: str) -> dict[str, str]:
    answer = get_token(who.headers, scope=[f"repository:{repository}:pull,push,delete"])
    return bearer(json_of(answer)["token"])


def protocol_call(method: str, repository: str, path: str, headers: dict[str, str]) -> Response:
    return routes.handle(request(method, f"/v2/{repository}/{path}", headers))


@pytest.mark.parametrize(("method", "path"), PROTOCOL)
def test_the_protocol_does_not_tell_a_private_project_from_none(method: str, path: str, world: World) -> None:
    private = next(each for each in world.places if not each.is_own and not each.project.public)
    absent = worlds.missing(private)
    for who in [who for who in blind(world) if not protocol(who, private)]:
        for credentials in ("own", "token"):
            answers = []
            for place in (private, absent):
                repository = f"{place.project.name}/app"
                headers = who.headers if credentials == "own" else token(who, repository)
                response, calls = settled(partial(protocol_call, method, repository, path, headers))
                told = {name: neutral(value, place) for name, value in response.headers.items()}
                answers.append((response.status, neutral(response.body.decode(), place), told, calls))
            assert answers[0] == answers[1], (who.name, credentials)


def settled(action: Callable[[], Response]) -> tuple[Response, int]:
    """The answer, and the fewest calls of stores that it takes: what is remembered of a caller is no difference."""
    fewest = 1000
    for _ in range(3):
        with counted() as calls:
            response = action()
        fewest = min(fewest, len(calls))
    return response, fewest


def neutral(text: str, place: Place) -> str:
    """`text` without what the caller has named itself."""
    return text.replace(place.project.name, "NAME").replace(str(place.project.project_id), "NUMBER")
