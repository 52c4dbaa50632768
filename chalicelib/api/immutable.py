"""Harbor's tag `immutable`: the rules by which tags of a project cannot be moved or deleted."""

from __future__ import annotations

from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import require_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page
from chalicelib.api.query import selection
from chalicelib.http import Response
from chalicelib.projects import immutability

_RESOURCE = "immutable-tag"
_FIELDS = ("id", "disabled", "priority", "action", "template")


@operation("GET", "/projects/{project_name_or_id}/immutabletagrules")
def list_immutable_rules(call: Call) -> Response:
    project = require_project(call, _RESOURCE, "list")
    part = page(call.request, selection(call.request, _FIELDS, _FIELDS).of(project.immutable_rules, dict))
    return json_response(part.entries, headers=part.headers)


@operation("POST", "/projects/{project_name_or_id}/immutabletagrules")
def create_immutable_rule(call: Call) -> Response:
    project = require_project(call, _RESOURCE, "create")
    number = immutability.create(project, json_body(call.request))
    return Response(201, {"Location": f"{call.request.path}/{number}"})


@operation("PUT", "/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}")
def update_immutable_rule(call: Call) -> Response:
    project = require_project(call, _RESOURCE, "update")
    number = fields.identifier(call.parameters, "immutable_rule_id")
    immutability.require_present(project, number)
    body = json_body(call.request)
    if fields.number(body, "id") != number:
        raise BadRequestError("the immutable_rule_id doesn't match the id in the payload body of ImmutableRule")
    immutability.update(project, number, body)
    return Response(200)


@operation("DELETE", "/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}")
def delete_immutable_rule(call: Call) -> Response:
    project = require_project(call, _RESOURCE, "delete")
    immutability.delete(project, fields.identifier(call.parameters, "immutable_rule_id"))
    return Response(200)
