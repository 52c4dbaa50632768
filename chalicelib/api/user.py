"""Harbor's tag `user`: accounts, their profiles and passwords, and what the caller may do."""

from __future__ import annotations

import re
from typing import Any

from chalicelib.access import accounts, configuration, csrf, users
from chalicelib.access.authorization import permissions, permissions_nowhere
from chalicelib.access.store.users import Identity, User
from chalicelib.api import PREFIX, fields
from chalicelib.api.errors import BadRequestError, ForbiddenError, PreconditionFailedError
from chalicelib.api.guards import require_account, require_admin, require_login, require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import WHOLE, page, window
from chalicelib.api.query import selection
from chalicelib.http import Response
from chalicelib.projects import rules
from chalicelib.projects.errors import NotFoundError as ProjectNotFoundError
from chalicelib.storage.tables.keys import ADMINISTRATOR

_SCOPE = re.compile(r"/project/(?P<number>[0-9]{1,15})(?:/(?P<resource>[a-z-]*))?/?\Z", re.ASCII)
_FIELDS = (
    *("user_id", "username", "email", "realname", "comment", "sysadmin_flag"),
    *("creation_time", "update_time"),
)


@operation("GET", "/users")
def list_users(call: Call) -> Response:
    """By number. A part of the name or the address is looked for in all of them, not in the users; `q` reads these."""
    require_system(call.caller, "user", "list")
    query, chosen = call.request.query, selection(call.request, _FIELDS, _FIELDS)
    name_part, email_part = query.get("username", ""), query.get("email", "")
    if chosen.tests or chosen.order:
        found = [_to_json(user) for user in users.read_each(users.matching(name_part, email_part))]
        selected = page(call.request, chosen.of(found, dict), WHOLE)
        return json_response(selected.entries, headers=selected.headers)
    if name_part or email_part:
        part = page(call.request, users.matching(name_part, email_part), WHOLE)
        return json_response([_to_json(user) for user in users.read_each(part.entries)], headers=part.headers)
    asked = window(call.request, WHOLE)
    listed = users.page(asked.start, asked.size)
    return json_response([_to_json(user) for user in listed], headers=asked.headers(users.count()))


@operation("POST", "/users")
def create_user(call: Call) -> Response:
    """For callers that may make users, and any browser while users may register themselves; not with OIDC's users."""
    present = configuration.current()
    if present.auth_mode != configuration.DB_AUTH:
        raise ForbiddenError(f"creating local user is not allowed under auth mode: {present.auth_mode}")
    if present.self_registration and call.caller.is_anonymous:
        csrf.check(call.request)
    else:
        require_system(call.caller, "user", "create")
    body = json_body(call.request)
    user = users.create(
        fields.text(body, "username"),
        fields.text(body, "password"),
        fields.text(body, "email"),
        fields.text(body, "realname"),
        fields.text(body, "comment", ""),
        call.actor,
    )
    return Response(201, {"Location": f"{PREFIX}/users/{user.number}"})


@operation("GET", "/users/current")
def get_current_user(call: Call) -> Response:
    if call.caller.robot is not None:
        raise PreconditionFailedError("a robot is no user")
    require_login(call.caller)
    user = users.get(call.caller.number)
    by_provider = user.identity is not None and user.identity.admin
    return json_response({**_to_json(user), "admin_role_in_auth": by_provider})


@operation("GET", "/users/current/permissions")
def get_current_user_permissions(call: Call) -> Response:
    """What the caller may do in the project that `scope` names as `/project/<number>`; nothing for another scope.

    As in Harbor a scope may name a resource of the project too, such as `/project/1/repository`, whose actions are
    those with `relative` set, and its resource the scope itself.
    """
    require_account(call.caller)
    query = call.request.query
    relative = fields.query_boolean(query, "relative") is True
    scope = _SCOPE.match(query.get("scope", ""))
    if scope is None:
        return json_response([])
    try:
        allowed = permissions(call.caller, rules.get_by_id(int(scope["number"])))
    except ProjectNotFoundError:
        allowed = permissions_nowhere(call.caller, scope["number"])
    below = scope["resource"]
    if relative and below:
        allowed = frozenset(each._replace(resource="project") for each in allowed if each.resource == below)
    project = "" if relative else f"/project/{scope['number']}"
    return json_response(
        [{"resource": _resource(project, each.resource), "action": each.action} for each in sorted(allowed)]
    )


@operation("GET", "/users/search")
def search_users(call: Call) -> Response:
    """Users whose name holds `username`: adding a member takes looking for them, so every user may."""
    require_account(call.caller)
    part_of_name = call.request.query.get("username")
    if not part_of_name:
        raise BadRequestError("username is required")
    part = page(call.request, list(users.named(part_of_name).items()), WHOLE)
    found = [{"user_id": number, "username": name} for number, name in part.entries]
    return json_response(found, headers=part.headers)


@operation("GET", "/users/{user_id}")
def get_user(call: Call) -> Response:
    return json_response(_to_json(users.get(_number(call, "read"))))


@operation("PUT", "/users/{user_id}")
def update_user_profile(call: Call) -> Response:
    number = _modifiable(call)
    body = json_body(call.request)
    email, realname = fields.text(body, "email"), fields.text(body, "realname")
    users.update_profile(number, email, realname, fields.text(body, "comment", ""), call.actor)
    return Response(200)


@operation("DELETE", "/users/{user_id}")
def delete_user(call: Call) -> Response:
    require_system(call.caller, "user", "delete")
    number = fields.identifier(call.parameters, "user_id")
    if number == call.caller.number:
        raise ForbiddenError("nobody can delete themselves")
    users.delete(number, call.actor)
    return Response(200)


@operation("PUT", "/users/{user_id}/sysadmin")
def set_user_sys_admin(call: Call) -> Response:
    require_admin(call.caller)
    admin = fields.boolean(json_body(call.request), "sysadmin_flag", False)
    users.set_administrator(fields.identifier(call.parameters, "user_id"), admin, call.actor)
    return Response(200)


@operation("PUT", "/users/{user_id}/password")
def update_user_password(call: Call) -> Response:
    """A change of one's own password takes the present one too: a login left open must not be enough.

    Another's is for administrators to change, not for robots that may update users: they could become anyone.
    """
    number = _modifiable(call)
    if number != call.caller.number:
        require_admin(call.caller)
    body = json_body(call.request)
    if number == call.caller.number:
        present = fields.text(body, "old_password", "")
        if accounts.verify(call.caller.name, present, call.request.address) is None:
            raise ForbiddenError("Current password is incorrect")
    users.set_password(number, fields.text(body, "new_password"), call.actor)
    return Response(200)


@operation("PUT", "/users/{user_id}/cli_secret")
def set_cli_secret(call: Call) -> Response:
    """The secret that a user who logs in by OIDC uses with docker. A generated one is shown, this once.

    Another's is for administrators to change, as a password is: that ends the user's sessions in the console too.
    """
    mode = configuration.current().auth_mode
    number = _number(call, "update")
    if mode != configuration.OIDC_AUTH:
        raise PreconditionFailedError(f"unable to update CLI secret under authmode: {mode}")
    is_anothers = number != call.caller.number
    if is_anothers:
        require_admin(call.caller)
    given = fields.text(json_body(call.request), "secret", "")
    secret = users.set_cli_secret(number, given, call.actor, ends_sessions=is_anothers)
    return Response(200) if given else json_response({"secret": secret})


def _modifiable(call: Call) -> int:
    """The number of a user whose profile and password are kept here and the caller may change."""
    number = _number(call, "update")
    mode = configuration.current().auth_mode
    if mode != configuration.DB_AUTH and number != ADMINISTRATOR:
        raise ForbiddenError(f"User with ID {number} can't be updated under auth mode: {mode}")
    return number


def _number(call: Call, action: str) -> int:
    """The number in the path, if it is the caller's own or the caller may do `action` on any user."""
    require_account(call.caller)
    number = fields.identifier(call.parameters, "user_id")
    if number != call.caller.number:
        require_system(call.caller, "user", action)
    return number


def _resource(scope: str, resource: str) -> str:
    """As Harbor writes it: the project itself is the scope, and `.` within it (src/pkg/permission/types)."""
    own = "" if resource == "project" else resource
    return f"{scope}/{own}".rstrip("/") if scope else own or "."


def _to_json(user: User) -> dict[str, Any]:
    """The swagger's UserResp."""
    shown = {
        "user_id": user.number,
        "username": user.username,
        "email": user.email,
        "realname": user.realname,
        "comment": user.comment,
        "sysadmin_flag": user.admin,
        "admin_role_in_auth": False,
        "creation_time": fields.time(user.created),
        "update_time": fields.time(user.updated),
    }
    return shown if user.identity is None else {**shown, "oidc_user_meta": _identity(user.number, user.identity)}


def _identity(number: int, identity: Identity) -> dict[str, Any]:
    """The swagger's OIDCUserInfo, without the secret: only a hash of it is known."""
    return {
        "id": number,
        "user_id": number,
        "subiss": f"{identity.subject}{identity.issuer}",
        "creation_time": fields.time(identity.created),
        "update_time": fields.time(identity.updated),
    }
