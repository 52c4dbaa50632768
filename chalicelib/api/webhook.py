"""Harbor's tag `webhook`: a project's policies, and what became of what they sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.access.authorization import permissions
from chalicelib.access.roles import Permission
from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import require_admin, require_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page
from chalicelib.api.query import selection
from chalicelib.http import Response
from chalicelib.jobs.records import Status
from chalicelib.projects.records import Project
from chalicelib.webhooks import deliveries, policies
from chalicelib.webhooks.policies import KEPT_SECRET
from chalicelib.webhooks.records import DEFAULT, HTTP, SYSTEM_EVENT_TYPES, Delivery, Policy, Target
from chalicelib.webhooks.store import deliveries as delivery_table

_RESOURCE = "notification-policy"
_WEBHOOK = "/projects/{project_name_or_id}/webhook"
_POLICY = f"{_WEBHOOK}/policies/{{webhook_policy_id}}"
_EXECUTIONS = f"{_POLICY}/executions"
_FIELDS = ("id", "name", "description", "project_id", "enabled", "creator", "creation_time", "update_time")
_EXECUTION_FIELDS = (
    *("id", "status", "status_message", "vendor_type", "vendor_id", "trigger"),
    *("start_time", "end_time"),
)
_TASK_FIELDS = (
    *("id", "execution_id", "status", "status_message", "run_count"),
    *("creation_time", "update_time", "start_time", "end_time"),
)

_METRICS = {
    Status.PENDING: "pending_task_count",
    Status.RUNNING: "running_task_count",
    Status.SUCCESS: "success_task_count",
    Status.ERROR: "error_task_count",
    Status.STOPPED: "stopped_task_count",
}


@operation("GET", f"{_WEBHOOK}/policies")
def list_webhook_policies(call: Call) -> Response:
    project = require_project(call, _RESOURCE, "list")
    chosen = selection(call.request, _FIELDS, _FIELDS)
    shown = [_to_json(each, _is_told(call, project, each)) for each in policies.list_all(project)]
    part = page(call.request, chosen.of(shown, dict))
    return json_response(part.entries, headers=part.headers)


@operation("POST", f"{_WEBHOOK}/policies")
def create_webhook_policy(call: Call) -> Response:
    project = require_project(call, _RESOURCE, "create")
    policy = policies.create(project, _policy(call, project), call.actor)
    return Response(201, {"Location": f"{call.request.path}/{policy.number}"})


@operation("GET", _POLICY)
def get_webhook_policy(call: Call) -> Response:
    project, policy = _found(call)
    return json_response(_to_json(policy, _is_told(call, project, policy)))


@operation("PUT", _POLICY)
def update_webhook_policy(call: Call) -> Response:
    """Everything is set as the body says it, but for secrets that it shows as the API does."""
    project = require_project(call, _RESOURCE, "update")
    present = policies.get(project, fields.identifier(call.parameters, "webhook_policy_id"))
    policies.update(project, present.number, _policy(call, project), call.actor)
    return Response(200)


@operation("DELETE", _POLICY)
def delete_webhook_policy(call: Call) -> Response:
    project = require_project(call, _RESOURCE, "delete")
    policies.delete(project, fields.identifier(call.parameters, "webhook_policy_id"), call.actor)
    return Response(200)


@operation("GET", _EXECUTIONS)
def list_webhook_executions(call: Call) -> Response:
    """The newest thousand, each of one target; Harbor keeps as good as none of older ones either."""
    chosen = selection(call.request, _EXECUTION_FIELDS, _EXECUTION_FIELDS)
    found = delivery_table.newest(_found(call)[1].number)
    part = page(call.request, chosen.of([_to_execution(each) for each in found], dict))
    return json_response(part.entries, headers=part.headers)


@operation("GET", f"{_EXECUTIONS}/{{execution_id}}/tasks")
def list_webhook_tasks(call: Call) -> Response:
    """One: the sending of the event to the target."""
    chosen = selection(call.request, _TASK_FIELDS, _TASK_FIELDS)
    part = page(call.request, chosen.of([_to_task(_delivery(call))], dict))
    return json_response(part.entries, headers=part.headers)


@operation("GET", f"{_EXECUTIONS}/{{execution_id}}/tasks/{{task_id}}/log")
def get_webhook_task_log(call: Call) -> Response:
    delivery = _delivery(call)
    deliveries.require_task(delivery, fields.identifier(call.parameters, "task_id"))
    return Response(200, {"Content-Type": "text/plain"}, "".join(f"{line}\n" for line in delivery.log).encode())


@operation("GET", f"{_WEBHOOK}/lasttrigger")
def list_last_triggers(call: Call) -> Response:
    project = require_project(call, _RESOURCE, "read")
    return json_response([each for policy in policies.list_all(project) for each in _triggers(policy)])


@operation("GET", f"{_WEBHOOK}/events")
def get_supported_event_types(call: Call) -> Response:
    require_project(call, _RESOURCE, "read")
    return json_response(
        {
            "event_type": list(policies.EVENT_TYPES if call.caller.is_admin else policies.PROJECT_EVENT_TYPES),
            "notify_type": list(policies.TARGET_TYPES),
            "payload_formats": [{"notify_type": HTTP, "formats": list(policies.FORMATS)}],
        }
    )


def _found(call: Call) -> tuple[Project, Policy]:
    project = require_project(call, _RESOURCE, "read")
    return project, policies.get(project, fields.identifier(call.parameters, "webhook_policy_id"))


def _is_told(call: Call, project: Project, policy: Policy) -> bool:
    """Whether the caller is shown the headers that a policy sends: if it may write the policy.

    Harbor shows them to everyone that may read policies; its Terraform provider compares what it wrote with what it
    reads.
    """
    if not frozenset(SYSTEM_EVENT_TYPES).isdisjoint(policy.event_types):
        return call.caller.is_admin
    return Permission(_RESOURCE, "update") in permissions(call.caller, project)


def _delivery(call: Call) -> Delivery:
    return deliveries.get(_found(call)[1], fields.identifier(call.parameters, "execution_id"))


def _policy(call: Call, project: Project) -> Policy:
    """The policy that the body describes, if the caller may write it. Raises BadRequestError or ApiError."""
    body = json_body(call.request)
    targets, events = body.get("targets"), body.get("event_types")
    if not isinstance(targets, list) or not all(isinstance(each, dict) for each in targets):
        raise BadRequestError("targets must be a list of objects")
    if not isinstance(events, list) or not all(isinstance(each, str) for each in events):
        raise BadRequestError("event_types must be a list of strings")
    if not frozenset(SYSTEM_EVENT_TYPES).isdisjoint(events):
        require_admin(call.caller)
    return Policy(
        0,
        project.project_id,
        fields.text(body, "name"),
        fields.text(body, "description", ""),
        tuple(_target(each) for each in targets),
        tuple(dict.fromkeys(events)),
        fields.boolean(body, "enabled", False),
        "",
        0,
        0,
    )


def _target(body: Mapping[str, Any]) -> Target:
    kind = fields.text(body, "type")
    return Target(
        kind,
        fields.text(body, "address"),
        fields.text(body, "auth_header", ""),
        fields.boolean(body, "skip_cert_verify", False),
        fields.text(body, "payload_format", "") or (DEFAULT if kind == HTTP else ""),
    )


def _to_json(policy: Policy, is_told: bool) -> dict[str, Any]:
    """The swagger's WebhookPolicy, with the headers for callers that may see them."""
    return {
        "id": policy.number,
        "name": policy.name,
        "description": policy.description,
        "project_id": policy.project_id,
        "targets": [_target_to_json(target, is_told) for target in policy.targets],
        "event_types": list(policy.event_types),
        "creator": policy.creator,
        "creation_time": fields.time(policy.created),
        "update_time": fields.time(policy.updated),
        "enabled": policy.enabled,
    }


def _target_to_json(target: Target, is_told: bool) -> dict[str, Any]:
    return {
        "type": target.type,
        "address": target.address,
        "skip_cert_verify": target.skip_cert_verify,
        **({"auth_header": target.auth_header if is_told else KEPT_SECRET} if target.auth_header else {}),
        **({"payload_format": target.payload_format} if target.payload_format else {}),
    }


def _triggers(policy: Policy) -> list[dict[str, Any]]:
    """The swagger's WebhookLastTrigger, of each event of a policy."""
    times = delivery_table.triggered(policy.number)
    return [
        {
            "policy_name": policy.name,
            "event_type": name,
            "enabled": policy.enabled,
            "creation_time": fields.time(policy.created),
            **({"last_trigger_time": fields.time(times[name])} if name in times else {}),
        }
        for name in policy.event_types
    ]


def _vendor_type(delivery: Delivery) -> str:
    return "WEBHOOK" if delivery.target.type == HTTP else "SLACK"


def _to_execution(delivery: Delivery) -> dict[str, Any]:
    """The swagger's Execution."""
    return {
        "id": delivery.number,
        "vendor_type": _vendor_type(delivery),
        "vendor_id": delivery.policy,
        "status": delivery.status.value,
        "status_message": _last(delivery) if delivery.status is not Status.SUCCESS else "",
        "metrics": {"task_count": 1, _METRICS[delivery.status]: 1},
        "trigger": "EVENT",
        "extra_attrs": {"payload": json.loads(delivery.body)},
        "start_time": fields.time(delivery.created),
        **({"end_time": fields.time(delivery.updated)} if delivery.status.is_final else {}),
    }


def _to_task(delivery: Delivery) -> dict[str, Any]:
    """The swagger's Task."""
    return {
        "id": delivery.number,
        "execution_id": delivery.number,
        "status": delivery.status.value,
        "status_message": _last(delivery) if delivery.status is not Status.SUCCESS else "",
        "run_count": delivery.attempts,
        "extra_attrs": {"payload": json.loads(delivery.body)},
        "creation_time": fields.time(delivery.created),
        "update_time": fields.time(delivery.updated),
        "start_time": fields.time(delivery.created),
        **({"end_time": fields.time(delivery.updated)} if delivery.status.is_final else {}),
    }


def _last(delivery: Delivery) -> str:
    return delivery.log[-1] if delivery.log else ""
