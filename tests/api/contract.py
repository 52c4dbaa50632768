"""Holds every answer that the tests get from the API to Harbor's swagger: its status and the schema of its body."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft4Validator
from jsonschema.validators import extend

from chalicelib.api import PREFIX, operations
from chalicelib.api.operations import Operation
from chalicelib.http import Request, Response

SWAGGER = Path(__file__).resolve().parents[3] / "shared" / "reference" / "harbor-v2-swagger.yaml"
"""Beside the project's folder; where it is not, answers are held to nothing."""

_ANYWHERE = {400, 401, 429, 503}
"""Malformed input, wrong credentials, too many failed logins, a busy store: any operation may answer so."""

_ARTIFACTS = "/projects/{project_name}/repositories/{repository_name}/artifacts"

_AS_HARBOR = {
    # Harbor's code refuses so, and its swagger does not say it.
    ("GET", "/security/vul"): {403},
    ("POST", "/p2p/preheat/instances/ping"): {403},
    ("POST", "/projects"): {403},
    ("POST", "/system/gc/schedule"): {412},
    ("PUT", "/system/gc/schedule"): {412},
    ("POST", "/projects/{project_name_or_id}/members"): {404},
    ("GET", "/robots"): {403},
    ("POST", "/robots"): {409},
    ("GET", "/labels"): {403},
    ("POST", "/labels"): {403},
    ("PUT", "/labels/{label_id}"): {403},
    ("DELETE", "/labels/{label_id}"): {403},
    ("GET", "/projects/{project_name}/logs"): {403, 404},
    ("GET", "/projects/{project_name}/auditlog-exts"): {403, 404},
    ("GET", "/projects/{project_name_or_id}/immutabletagrules"): {404},
    ("POST", "/projects/{project_name_or_id}/immutabletagrules"): {409},
    ("GET", "/projects/{project_name_or_id}/webhook/policies"): {404},
    ("POST", "/projects/{project_name_or_id}/webhook/policies"): {404, 409},
    ("PUT", "/projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}"): {409},
    ("GET", "/projects/{project_name_or_id}/webhook/lasttrigger"): {404},
    ("GET", "/projects/{project_name_or_id}/webhook/jobs"): {404},
    ("GET", "/projects/{project_name_or_id}/webhook/events"): {404},
    ("POST", "/retentions"): {409},
    ("PUT", "/retentions/{id}"): {404, 409},
    ("PATCH", "/retentions/{id}/executions/{eid}"): {404},
    ("GET", "/retentions/{id}/executions/{eid}/tasks"): {404},
    ("GET", "/retentions/{id}/executions/{eid}/tasks/{tid}"): {404},
    ("POST", _ARTIFACTS): {405, 412},
    ("DELETE", f"{_ARTIFACTS}/{{reference}}"): {412},
    ("DELETE", f"{_ARTIFACTS}/{{reference}}/tags/{{tag_name}}"): {412},
}

_INSTEAD_OF_500 = {
    # Harbor's code answers 500 to what is the client's mistake: the error of its database, or one that it lost.
    ("PUT", "/users/{user_id}"): {409},  # src/pkg/user/dao/dao.go, Update
    ("PUT", "/users/{user_id}/password"): {404},  # handler/user.go, UpdateUserPassword sends another error
    ("PUT", "/usergroups/{group_id}"): {409},  # src/pkg/usergroup/dao/dao.go, UpdateName
    ("GET", "/retentions/{id}"): {404},  # src/pkg/retention/manager.go, GetPolicy
    ("PUT", "/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}"): {409},  # src/pkg/immutable/dao
}

_INSTEAD_OF_422 = {
    # Under what is no number there is nothing: go-openapi says 422, which the swagger does not have either.
    ("DELETE", "/usergroups/{group_id}"): {404},
}


_NOT_BUILT = {404, 501}
"""What an operation answers of which nothing is built."""


def check(request: Request, response: Response) -> None:
    """Raises AssertionError when `response` is none that the swagger describes."""
    operation = _operation(request)
    if operation is None or operation.is_own or not SWAGGER.exists():
        return
    method, path = operation.method, operation.path
    described = _swagger()["paths"][path][method.lower()]["responses"]
    beside = _ANYWHERE.union(*(each.get((method, path), ()) for each in (_AS_HARBOR, _INSTEAD_OF_500, _INSTEAD_OF_422)))
    if operation.missing:
        beside |= _NOT_BUILT
    if response.status in beside and str(response.status) not in described:
        schema = {"$ref": "#/definitions/Errors"}
    else:
        assert str(response.status) in described, f"{method} {path} answers {response.status}: {response.body!r}"
        answer = described[str(response.status)]
        if "$ref" in answer:
            answer = _swagger()["responses"][answer["$ref"].rpartition("/")[2]]
        schema = answer.get("schema", {})
        missing = {"Location"} & set(answer.get("headers", ())) - set(response.headers)
        assert not missing, f"{method} {path} lacks {missing}"
    if response.body and schema and method != "HEAD":
        content = json.loads(response.body) if schema.get("type") != "string" else response.body.decode("latin-1")
        _validator(json.dumps(schema)).validate(content)


def described() -> list[tuple[str, str, str]]:
    """Method, path and tag of every operation in the swagger, in its order."""
    return [
        (method.upper(), path, fields["tags"][0])
        for path, methods in _swagger()["paths"].items()
        for method, fields in methods.items()
        if method != "parameters"
    ]


def _operation(request: Request) -> Operation | None:
    path = operations.clean_path(request.path).removeprefix(PREFIX)
    every = [*operations.registered(), *operations.unbuilt()]
    found = [each for each in every if each.pattern.match(path) and each.method == request.method]
    return min(found, key=lambda each: each.rank, default=None)


def read_swagger() -> dict[str, Any]:
    """The swagger as it stands. libyaml's loader takes a tenth of the other's time."""
    with SWAGGER.open() as file:
        loaded: dict[str, Any] = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 -- both are safe
    return loaded


@cache
def _swagger() -> dict[str, Any]:
    loaded = read_swagger()
    # Harbor's own attributes are strings and objects alike, whatever its swagger says.
    loaded["definitions"]["ExtraAttrs"] = {"type": "object"}
    # Parameters of retention's rules are numbers: `map[string]interface{}` in src/pkg/retention/policy/rule/index.
    loaded["definitions"]["RetentionRule"]["properties"]["params"] = {"type": "object"}
    return loaded


@cache
def _validator(schema: str) -> Draft4Validator:
    """Swagger 2.0 is JSON schema draft 4, whose `$ref`s are into the swagger, with `x-nullable` beside it."""

    def properties(validator: Any, fields: Any, instance: Any, whole: Any) -> Any:
        nullable = {name for name, field in fields.items() if _is_nullable(field)}
        present = instance if isinstance(instance, dict) else {}
        kept = {name: value for name, value in present.items() if not (value is None and name in nullable)}
        yield from Draft4Validator.VALIDATORS["properties"](validator, fields, kept, whole)

    document = {**json.loads(schema), "definitions": _swagger()["definitions"]}
    return extend(Draft4Validator, {"properties": properties})(document, format_checker=Draft4Validator.FORMAT_CHECKER)


def _is_nullable(field: dict[str, Any]) -> bool:
    # Go writes a list that is empty as null: so does Harbor, for all its lists.
    return bool(field.get("x-nullable")) or field.get("type") == "array"
