"""Random requests, right and wrong ones, for every operation that is built: schemathesis makes them from the swagger.

They delete and reconfigure what they meet, so this suite has a cloud of its own: tests/api/test_random_requests.py runs
it in a process of its own, with a few requests for each operation (`make slow`); `make soak` with many.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from chalicelib.api import PREFIX, dispatch, operations
from chalicelib.bootstrap import bootstrap
from chalicelib.http import Request, Response
from chalicelib.projects import rules
from tests.access.support import BASIC, NAME, ORIGIN, PASSWORD
from tests.api import contract
from tests.contract.pool import Pool
from tests.registry.images import push_image

EXAMPLES = int(os.environ.get("BERTH_CONTRACT_EXAMPLES", "4"))
"""Requests of each kind for each operation."""

assert dispatch.handle  # whose import registers the operations
BUILT = sorted((each.path, each.method) for each in operations.registered() if not each.is_own)


@pytest.fixture(scope="module")
def pool(cloud: object) -> Pool:
    bootstrap(NAME, PASSWORD)
    project = rules.create("random", NAME, public=False)
    digest, _ = push_image("random/app", "v1")
    return Pool(
        project_name="random",
        project_name_or_id=str(project.project_id),
        repository_name="app",
        reference=digest,
        tag_name="v1",
        user_id="3",
    )


@cache
def described() -> dict[tuple[str, str], Any]:
    """The swagger's operations, as schemathesis reads them."""
    schema = schemathesis.openapi.from_dict(contract.read_swagger())
    found = [result.ok() for result in schema.get_all_operations()]
    return {(operation.path, operation.method.upper()): operation for operation in found}


@pytest.mark.skipif(not contract.SWAGGER.exists(), reason="Harbor's swagger is not here")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), BUILT)
def test_every_answer_is_one_that_the_swagger_describes(
    path: str, method: str, mode: GenerationMode, pool: Pool
) -> None:
    strategy = described()[path, method].as_strategy(generation_mode=mode)
    choices = st.lists(st.integers(0, 3), min_size=8, max_size=8)

    @limits(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy, choices)
    def try_it(case: Any, choices: list[int]) -> None:
        request = request_of(case, pool, choices)
        response = dispatch.handle(request)
        assert response.status < 500, (request, response)
        contract.check(request, response)
        pool.learn(response)
        restore(request, response)

    try_it()


def request_of(case: Any, pool: Pool, choices: list[int]) -> Request:
    """A generated case as the gateway would hand it on."""
    parameters = pool.fill(case.path_parameters or {}, choices)
    path = case.path
    for name, value in parameters.items():
        path = path.replace(f"{{{name}}}", quote(text(value), safe=":$") or "-")
    query = {name: text(value) for name, value in (case.query or {}).items()}
    headers = {name.lower(): text(value) for name, value in (case.headers or {}).items()}
    content = b""
    if type(case.body).__name__ != "NotSet":
        # Of wrong bodies, some are no JSON but bytes.
        content = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
        headers["content-type"] = case.media_type or "application/json"
    return Request(case.method, f"{PREFIX}{path}", query, {**headers, **BASIC}, content, ORIGIN)


def text(value: Any) -> str:
    """A parameter's value in a URL."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, list):
        return ",".join(map(text, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)


def restore(request: Request, response: Response) -> None:
    """What the later requests rely on is put back."""
    if request.method == "PUT" and request.path == f"{PREFIX}/configurations" and response.status == 200:
        undo = {"auth_mode": "db_auth", "read_only": False, "robot_name_prefix": "robot$"}
        body = json.dumps(undo).encode()
        headers = {**BASIC, "content-type": "application/json"}
        assert dispatch.handle(Request("PUT", request.path, {}, headers, body, ORIGIN)).status == 200
    if request.method == "DELETE" and response.status == 200 and rules.find("random") is None:
        project = rules.create("random", NAME, public=False)
        assert project.name
    if request.method == "DELETE" and "/repositories/app" in request.path and response.status == 200:
        push_image("random/app", "v1")
