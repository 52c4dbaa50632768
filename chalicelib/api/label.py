"""Harbor's tag `label`: labels of a project (scope `p`) and of all projects (scope `g`)."""

from __future__ import annotations

from typing import Any

from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import permissions, permissions_nowhere, permits_in_system
from chalicelib.access.roles import Permission
from chalicelib.api import PREFIX, fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import refusal, require_account
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page
from chalicelib.api.query import selection
from chalicelib.artifacts import labels
from chalicelib.http import Response
from chalicelib.projects import rules
from chalicelib.projects.errors import LabelNotFoundError, NotFoundError
from chalicelib.registry.store.labels import GLOBAL, Label

_FIELDS = ("id", "name", "description", "color", "scope", "project_id", "creation_time", "update_time")


@operation("GET", "/labels")
def list_labels(call: Call) -> Response:
    query = call.request.query
    scope = query.get("scope")
    if scope not in ("g", "p"):
        raise BadRequestError("scope must be g or p")
    project_id = fields.query_number(query, "project_id") if scope == "p" else GLOBAL
    _require(call.caller, project_id, "list")
    found = [to_json(label) for label in labels.list_all(project_id) if query.get("name", "") in label.name]
    part = page(call.request, selection(call.request, _FIELDS, _FIELDS).of(found, dict))
    return json_response(part.entries, headers=part.headers)


@operation("POST", "/labels")
def create_label(call: Call) -> Response:
    require_account(call.caller)
    body = json_body(call.request)
    scope = body.get("scope")
    if scope not in ("g", "p"):
        raise BadRequestError("scope must be g or p")
    project_id = fields.number(body, "project_id") if scope == "p" else GLOBAL
    _require(call.caller, project_id, "create")
    label = labels.create(project_id, *_content(body))
    return Response(201, {"Location": f"{PREFIX}/labels/{label.number}"})


@operation("GET", "/labels/{label_id}")
def get_label(call: Call) -> Response:
    return json_response(to_json(_find(call, "read")))


@operation("PUT", "/labels/{label_id}")
def update_label(call: Call) -> Response:
    label = _find(call, "update")
    labels.update(label.number, *_content(json_body(call.request)))
    return Response(200)


@operation("DELETE", "/labels/{label_id}")
def delete_label(call: Call) -> Response:
    labels.delete(_find(call, "delete").number)
    return Response(200)


def to_json(label: Label) -> dict[str, Any]:
    """The swagger's Label."""
    return {
        "id": label.number,
        "name": label.name,
        "description": label.description,
        "color": label.color,
        "scope": "p" if label.project_id else "g",
        "project_id": label.project_id,
        "creation_time": fields.time(label.created),
        "update_time": fields.time(label.updated),
    }


def _content(body: dict[str, Any]) -> tuple[str, str, str]:
    return fields.text(body, "name"), fields.text(body, "description", ""), fields.text(body, "color", "")


def _find(call: Call, action: str) -> Label:
    """The label that the path names. One that the caller may not see answers as one that is not there."""
    number = fields.identifier(call.parameters, "label_id")
    try:
        label = labels.get(number)
    except LabelNotFoundError:
        _may(call.caller, rules.NO_NUMBER, "read")  # for as long as a private project's takes
        raise
    if not _may(call.caller, label.project_id, "read"):
        raise LabelNotFoundError(f"label {number} not found")
    _require(call.caller, label.project_id, action)
    return label


def _require(caller: Caller, project_id: int, action: str) -> None:
    if not _may(caller, project_id, action):
        raise refusal(caller)


def _may(caller: Caller, project_id: int, action: str) -> bool:
    """Global labels are for every account to see, robots' as well, and for system administrators to change."""
    if project_id == GLOBAL:
        seen = (bool(caller.number) or caller.robot is not None) and action in ("read", "list")
        return seen or permits_in_system(caller, Permission("label", action))
    try:
        project = rules.get_by_id(project_id)
    except NotFoundError:
        return bool(permissions_nowhere(caller, project_id))
    return Permission("label", action) in permissions(caller, project)
