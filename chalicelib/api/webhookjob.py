"""Harbor's tag `webhookjob`: what a policy has sent, as one list."""

from __future__ import annotations

from typing import Any

from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import require_project
from chalicelib.api.operations import Call, json_response, operation
from chalicelib.api.paging import page
from chalicelib.api.query import selection
from chalicelib.http import Response
from chalicelib.jobs.records import Status
from chalicelib.webhooks import policies
from chalicelib.webhooks.records import Delivery
from chalicelib.webhooks.store import deliveries as table

_FIELDS = ("id", "policy_id", "status", "event_type", "notify_type", "creation_time", "update_time")


@operation("GET", "/projects/{project_name_or_id}/webhook/jobs")
def list_webhook_jobs(call: Call) -> Response:
    """Of the policy `policy_id`; of these statuses, if `status` names any, separated by commas."""
    project = require_project(call, "notification-policy", "list")
    policy = policies.get(project, fields.query_number(call.request.query, "policy_id"))
    wanted = {name for name in call.request.query.get("status", "").split(",") if name}
    if unknown := wanted - {status.value for status in Status}:
        raise BadRequestError(f"there is no status {sorted(unknown)[0][:64]}")
    chosen = selection(call.request, _FIELDS, _FIELDS)
    found = [each for each in table.newest(policy.number) if not wanted or each.status.value in wanted]
    part = page(call.request, chosen.of([_to_json(each) for each in found], dict))
    return json_response(part.entries, headers=part.headers)


def _to_json(delivery: Delivery) -> dict[str, Any]:
    """The swagger's WebhookJob."""
    return {
        "id": delivery.number,
        "policy_id": delivery.policy,
        "event_type": delivery.topic,
        "notify_type": delivery.target.type,
        "status": delivery.status.value,
        "job_detail": delivery.body,
        "creation_time": fields.time(delivery.created),
        "update_time": fields.time(delivery.updated),
    }
