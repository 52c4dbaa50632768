"""Harbor's tag `usergroup`: groups of users, as the login provider names them."""

from __future__ import annotations

from typing import Any

from chalicelib.access import groups
from chalicelib.access.store.groups import Group
from chalicelib.api import PREFIX, fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import require_account, require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import WHOLE, page
from chalicelib.http import Response


@operation("GET", "/usergroups")
def list_user_groups(call: Call) -> Response:
    require_system(call.caller, "user-group", "list")
    part = page(call.request, groups.list_all(call.request.query.get("group_name", "")), WHOLE)
    return json_response([_to_json(group) for group in part.entries], headers=part.headers)


@operation("POST", "/usergroups")
def create_user_group(call: Call) -> Response:
    require_system(call.caller, "user-group", "create")
    body = json_body(call.request)
    group = groups.create(fields.text(body, "group_name"), fields.number(body, "group_type"))
    return Response(201, {"Location": f"{PREFIX}/usergroups/{group.number}"})


@operation("GET", "/usergroups/search")
def search_user_groups(call: Call) -> Response:
    """Groups whose name holds `groupname`: adding a member takes looking for them, so every user may."""
    require_account(call.caller)
    part_of_name = call.request.query.get("groupname")
    if not part_of_name:
        raise BadRequestError("need to provide groupname to search user group")
    part = page(call.request, groups.list_all(part_of_name), WHOLE)
    return json_response([_to_json(group) for group in part.entries], headers=part.headers)


@operation("GET", "/usergroups/{group_id}")
def get_user_group(call: Call) -> Response:
    require_system(call.caller, "user-group", "read")
    return json_response(_to_json(groups.get(fields.identifier(call.parameters, "group_id"))))


@operation("PUT", "/usergroups/{group_id}")
def update_user_group(call: Call) -> Response:
    """Only the name can be changed, as in Harbor."""
    require_system(call.caller, "user-group", "update")
    group = groups.get(fields.identifier(call.parameters, "group_id"))
    groups.rename(group.number, fields.text(json_body(call.request), "group_name"))
    return Response(200)


@operation("DELETE", "/usergroups/{group_id}")
def delete_user_group(call: Call) -> Response:
    require_system(call.caller, "user-group", "delete")
    groups.delete(fields.identifier(call.parameters, "group_id"))
    return Response(200)


def _to_json(group: Group) -> dict[str, Any]:
    """The swagger's UserGroup, and its UserGroupSearchItem."""
    return {"id": group.number, "group_name": group.name, "group_type": group.kind}
