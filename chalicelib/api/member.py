"""Harbor's tag `member`: who has which role in a project."""

from __future__ import annotations

from typing import Any

from chalicelib.access import groups, members
from chalicelib.access.roles import Role
from chalicelib.api import PREFIX, fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import require_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import WHOLE, page
from chalicelib.http import Response
from chalicelib.projects.store.members import Member

_ENTITY_TYPES = {"user": "u", "group": "g"}


@operation("GET", "/projects/{project_name_or_id}/members")
def list_project_members(call: Call) -> Response:
    project = require_project(call, "member", "list")
    found = members.list_all(project, call.request.query.get("entityname", ""))
    part = page(call.request, found, WHOLE)
    return json_response([_to_json(member) for member in part.entries], headers=part.headers)


@operation("POST", "/projects/{project_name_or_id}/members")
def create_project_member(call: Call) -> Response:
    project = require_project(call, "member", "create")
    body = json_body(call.request)
    role = fields.number(body, "role_id")
    user, group = fields.mapping(body, "member_user"), fields.mapping(body, "member_group")
    user_id, username = fields.number(user, "user_id", 0), fields.text(user, "username", "")
    group_id, group_name = fields.number(group, "id", 0), fields.text(group, "group_name", "")
    if user_id or username:
        member = members.add(project, role, user_id, username, call.actor)
    elif group_id or group_name:
        kind = fields.number(group, "group_type", groups.OIDC)
        member = members.add_group(project, role, group_id, group_name, kind, call.actor)
    else:
        raise BadRequestError("member_user or member_group must name somebody")
    return Response(201, {"Location": f"{PREFIX}/projects/{project.project_id}/members/{member.number}"})


@operation("GET", "/projects/{project_name_or_id}/members/{mid}")
def get_project_member(call: Call) -> Response:
    project = require_project(call, "member", "read")
    return json_response(_to_json(members.get(project, fields.identifier(call.parameters, "mid"))))


@operation("PUT", "/projects/{project_name_or_id}/members/{mid}")
def update_project_member(call: Call) -> Response:
    project = require_project(call, "member", "update")
    member = members.get(project, fields.identifier(call.parameters, "mid"))
    members.set_role(project, member.number, fields.number(json_body(call.request), "role_id"), call.actor)
    return Response(200)


@operation("DELETE", "/projects/{project_name_or_id}/members/{mid}")
def delete_project_member(call: Call) -> Response:
    project = require_project(call, "member", "delete")
    members.remove(project, fields.identifier(call.parameters, "mid"), call.actor)
    return Response(200)


def _to_json(member: Member) -> dict[str, Any]:
    """The swagger's ProjectMemberEntity."""
    return {
        "id": member.number,
        "project_id": member.project_id,
        "entity_id": member.entity.number,
        "entity_name": member.name,
        "entity_type": _ENTITY_TYPES[member.entity.kind],
        "role_id": member.role,
        "role_name": Role(member.role).harbor_name,
    }
