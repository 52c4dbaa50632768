"""Harbor's tag `auditlog`, and a project's logs: who did what, newest first."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from chalicelib.access.authorization import own_projects, permissions, permits_in_system
from chalicelib.access.roles import Permission
from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import require_account, require_project
from chalicelib.api.operations import Call, json_response, operation
from chalicelib.api.paging import window
from chalicelib.api.query import conditions, selection
from chalicelib.auditing import log
from chalicelib.events import types
from chalicelib.events.records import Event
from chalicelib.events.store import ALWAYS, Period
from chalicelib.http import Request, Response

_FILTERS = (
    *("id", "operation", "resource", "resource_type", "username", "op_time"),
    *("operation_description", "operation_result", "client_address"),
)
_SORTS = ("op_time",)
_PERIOD = re.compile(r"\[([^~\]]*)~([^\]]*)\]\Z")

ToJson = Callable[[Event], dict[str, Any]]


@operation("GET", "/audit-logs")
def list_audit_logs(call: Call) -> Response:
    return _page(call, _of_caller(call), _to_log)


@operation("GET", "/auditlog-exts")
def list_audit_log_exts(call: Call) -> Response:
    return _page(call, _of_caller(call), _to_ext)


@operation("GET", "/projects/{project_name}/logs")
def get_logs(call: Call) -> Response:
    return _page(call, log.of_projects([require_project(call, "log", "list")]), _to_log)


@operation("GET", "/projects/{project_name}/auditlog-exts")
def get_log_exts(call: Call) -> Response:
    return _page(call, log.of_projects([require_project(call, "log", "list")]), _to_ext)


@operation("GET", "/auditlog-exts/events")
def list_audit_log_event_types(call: Call) -> Response:
    require_account(call.caller)
    return json_response([{"event_type": name} for name in types.EVENT_TYPES])


def _of_caller(call: Call) -> list[str]:
    """The partitions that the caller may read: all, or those of the projects whose logs it may list, as in Harbor."""
    require_account(call.caller)
    if permits_in_system(call.caller, Permission("audit-log", "list")):
        return log.of_system()
    allowed = Permission("log", "list")
    own = (project for project in own_projects(call.caller) if allowed in permissions(call.caller, project))
    return log.of_projects(own)


def _page(call: Call, partitions: Sequence[str], to_json: ToJson) -> Response:
    asked = window(call.request)
    chosen = selection(call.request, _FILTERS, _SORTS)
    period = _period(call.request)
    # What is outside of a period is not read at all.
    tests = {name: test for name, test in chosen.tests.items() if name != "op_time" or period == ALWAYS}

    def is_chosen(event: Event) -> bool:
        shown = _to_ext(event)
        return all(test(shown[name]) for name, test in tests.items())

    found = log.page(
        partitions,
        period,
        asked.start,
        asked.size,
        descending=not chosen.order or chosen.order[0][1],
        chosen=is_chosen if tests else None,
    )
    return json_response([to_json(event) for event in found.entries], headers=asked.headers(found.total))


def _period(request: Request) -> Period:
    """The range that `q` gives for op_time. Raises BadRequestError."""
    match = _PERIOD.match(conditions(request).get("optime", ""))
    return ALWAYS if match is None else Period(_milliseconds(match[1]), _milliseconds(match[2]))


def _milliseconds(text: str) -> int | None:
    """Raises BadRequestError for what is no time. Without a zone it is UTC."""
    text = text.strip().strip("\"'")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequestError(
            "op_time is a range of times, such as [2024-01-01 00:00:00~2024-01-31 23:59:59]"
        ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, int(moment.timestamp() * 1000))


def _to_log(event: Event) -> dict[str, Any]:
    """The swagger's AuditLog."""
    return {
        "id": number_of(event),
        "username": event.actor.name,
        "resource": event.resource,
        "resource_type": event.resource_type,
        "operation": event.operation,
        "op_time": fields.time(event.time),
    }


def _to_ext(event: Event) -> dict[str, Any]:
    """The swagger's AuditLogExt, and with it the address, which Harbor keeps in no field of its own."""
    return {
        **_to_log(event),
        "operation_description": event.description,
        "operation_result": event.is_successful,
        "client_address": event.actor.address,
    }


def number_of(event: Event) -> int:
    """A number that grows with time, and that JavaScript can hold: milliseconds and twelve bits of chance."""
    return event.time * 4096 + int(event.id[:3], 16)
