"""Harbor's tag `jobservice`: what runs in the background, what waits, and how to stop it."""

from __future__ import annotations

from typing import Any

from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError, NotFoundError
from chalicelib.api.guards import require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.http import Response
from chalicelib.jobs import executions, monitor
from chalicelib.jobs.kinds import KINDS
from chalicelib.jobs.records import Execution
from chalicelib.jobs.steps import WORKERS
from chalicelib.storage.conditions import now

_RESOURCE = "jobservice-monitor"
_HOST = "states"
"""Step Functions has no hosts to tell of, nor processes, nor a time since when it runs."""

_ACTIONS = {"stop": monitor.stop_pending, "pause": monitor.pause, "resume": monitor.resume}


@operation("GET", "/jobservice/pools")
def get_worker_pools(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "list")
    time = fields.time(now())
    return json_response(
        [
            {"worker_pool_id": kind.machine, "pid": 0, "host": _HOST, "concurrency": WORKERS, "heartbeat_at": time}
            for kind in KINDS.values()
        ]
    )


@operation("GET", "/jobservice/pools/{pool_id}/workers")
def get_workers(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "list")
    pool = call.parameters["pool_id"]
    if pool != monitor.ALL and pool not in {kind.machine for kind in KINDS.values()}:
        raise NotFoundError(f"the worker pool {pool[:64]} is not found")
    workers = [_worker_to_json(each) for each in executions.list_unfinished()]
    return json_response([each for each in workers if pool in (monitor.ALL, each["pool_id"])])


@operation("PUT", "/jobservice/jobs/{job_id}")
def stop_running_job(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "stop")
    monitor.stop_job(call.parameters["job_id"])
    return Response(200)


@operation("GET", "/jobservice/jobs/{job_id}/log")
def get_job_log(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "list")
    text = monitor.log(call.parameters["job_id"])
    return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())


@operation("GET", "/jobservice/queues")
def list_job_queues(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "list")
    return json_response(
        [
            {"job_type": each.job_type, "count": each.count, "latency": each.latency, "paused": each.is_paused}
            for each in monitor.queues()
        ]
    )


@operation("PUT", "/jobservice/queues/{job_type}")
def action_pending_jobs(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "stop")
    act = _ACTIONS.get(fields.text(json_body(call.request), "action").lower())
    if act is None:
        raise BadRequestError("the action is not supported")
    act(call.parameters["job_type"])
    return Response(200)


def _worker_to_json(execution: Execution) -> dict[str, Any]:
    """The swagger's Worker."""
    return {
        "id": f"{execution.number}",
        "pool_id": KINDS[execution.vendor_type].machine,
        "job_name": execution.vendor_type,
        "job_id": monitor.job_id(execution),
        "start_at": fields.time(execution.started),
        "checkin_at": fields.time(execution.updated),
    }
