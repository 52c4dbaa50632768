"""Harbor's tag `Retention`: the policy of a project, its executions, and what they made of each repository."""

from __future__ import annotations

from typing import Any

from chalicelib.access.authorization import permissions_nowhere
from chalicelib.api import fields
from chalicelib.api.errors import ApiError, BadRequestError, ConflictError, NotFoundError
from chalicelib.api.guards import refusal, require_account, require_in_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page, window
from chalicelib.http import Response
from chalicelib.jobs import cron, executions
from chalicelib.jobs.errors import ExecutionNotFoundError, TaskNotFoundError
from chalicelib.jobs.records import TASKS, Execution, Task, Trigger
from chalicelib.jobs.store import tasks
from chalicelib.projects import rules as projects
from chalicelib.projects import selectors
from chalicelib.projects.errors import NotFoundError as ProjectNotFoundError
from chalicelib.projects.errors import RuleNotFoundError
from chalicelib.projects.records import Project
from chalicelib.retention import policies, rules
from chalicelib.retention.policies import RETENTION
from chalicelib.retention.records import Policy
from chalicelib.storage.conditions import now

_RESOURCE = "tag-retention"
_SCHEDULE = "Schedule"
_EXECUTIONS = "/retentions/{id}/executions"
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


@operation("GET", "/retentions/metadatas")
def get_retention_metadata(call: Call) -> Response:
    """What a policy can say."""
    require_account(call.caller)
    templates = [
        {
            "rule_template": name,
            "display_text": template.text,
            "action": rules.RETAIN,
            "params": [{"type": "int", "unit": template.unit, "required": True}] if template.unit else [],
        }
        for name, template in rules.TEMPLATES.items()
    ]
    return json_response(
        {
            "templates": templates,
            "scope_selectors": [_selector_metadata("Repositories", selectors.REPOSITORIES)],
            "tag_selectors": [_selector_metadata("Tags", selectors.TAGS)],
        }
    )


@operation("POST", "/retentions")
def create_retention(call: Call) -> Response:
    require_account(call.caller)
    body = json_body(call.request)
    project = _scope(call, body)
    require_in_project(call.caller, project, _RESOURCE, "create")
    policy = policies.create(project, *_settings(body))
    return Response(201, {"Location": f"{call.request.path}/{policy.number}"})


@operation("GET", "/retentions/{id}")
def get_retention(call: Call) -> Response:
    return json_response(_to_json(_policy(call, "read", NotFoundError)))


@operation("PUT", "/retentions/{id}")
def update_retention(call: Call) -> Response:
    policy = _policy(call, "update")
    body = json_body(call.request)
    if _scope(call, body).project_id != policy.project_id:
        raise RuleNotFoundError(f"the retention policy id {policy.number} does not match")
    policies.update(policy.number, *_settings(body))
    return Response(200)


@operation("DELETE", "/retentions/{id}")
def delete_retention(call: Call) -> Response:
    policies.delete(_policy(call, "delete"))
    return Response(200)


@operation("POST", _EXECUTIONS)
def trigger_retention_execution(call: Call) -> Response:
    policy = _policy(call, "update")
    is_dry_run = fields.boolean(json_body(call.request), "dry_run", False)
    execution = policies.start(policy, Trigger.MANUAL, operator=call.caller.name, is_dry_run=is_dry_run)
    return Response(201, {"Location": f"{call.request.path}/{execution.number}"})


@operation("GET", _EXECUTIONS)
def list_retention_executions(call: Call) -> Response:
    policy = _policy(call, "list")
    part = page(call.request, executions.list_all(RETENTION, policy.number))
    return json_response([_execution_to_json(each) for each in part.entries], headers=part.headers)


@operation("PATCH", f"{_EXECUTIONS}/{{eid}}")
def operate_retention_execution(call: Call) -> Response:
    policy = _policy(call, "update")
    if json_body(call.request).get("action") != "stop":
        raise BadRequestError("action should be 'stop'")
    executions.stop(_execution(call, policy))
    return Response(200)


@operation("GET", f"{_EXECUTIONS}/{{eid}}/tasks")
def list_retention_tasks(call: Call) -> Response:
    execution, asked = _execution(call, _policy(call, "list")), window(call.request)
    found = tasks.read_page(execution.number, asked.start, asked.size)
    headers = asked.headers(tasks.count(execution.number))
    return json_response([_task_to_json(execution, each) for each in found], headers=headers)


@operation("GET", f"{_EXECUTIONS}/{{eid}}/tasks/{{tid}}")
def get_retention_task_log(call: Call) -> Response:
    execution = _execution(call, _policy(call, "read"))
    number = fields.identifier(call.parameters, "tid")
    if number // TASKS != execution.number or tasks.read(number) is None:
        raise TaskNotFoundError(f"task {number} not found")
    return Response(200, _TEXT, tasks.read_log(number).encode())


def _policy(call: Call, action: str, absent: type[ApiError] = BadRequestError) -> Policy:
    """The policy that the path names, if the caller may do `action` on its project's policies.

    Raises `absent` when there is none, to who sees all projects: as in Harbor it is 400 to all but a GET of it, which
    Harbor answers by 500.
    """
    require_account(call.caller)
    try:
        policy = policies.get(fields.identifier(call.parameters, "id"))
        project = projects.get_by_id(policy.project_id)
    except (RuleNotFoundError, ProjectNotFoundError, NotFoundError) as error:
        if not call.caller.is_admin:
            permissions_nowhere(call.caller, call.parameters["id"])
            raise refusal(call.caller) from None
        raise absent(str(error)) from error
    require_in_project(call.caller, project, _RESOURCE, action)
    return policy


def _execution(call: Call, policy: Policy) -> Execution:
    number = fields.identifier(call.parameters, "eid")
    execution = executions.get(number, RETENTION)
    if execution.vendor_id != policy.number:
        raise ExecutionNotFoundError(f"execution {number} not found")
    return execution


def _scope(call: Call, body: dict[str, Any]) -> Project:
    """The project that a policy is for. Raises BadRequestError, or what a caller gets that may not see it."""
    scope = fields.mapping(body, "scope")
    if scope.get("level") != "project":
        raise BadRequestError(f"scope {str(scope.get('level'))[:64]} is not support")
    number = fields.number(scope, "ref")
    try:
        return projects.get_by_id(number)
    except ProjectNotFoundError as error:
        if not call.caller.is_admin:
            permissions_nowhere(call.caller, number)
            raise refusal(call.caller) from None
        raise BadRequestError(f"invalid Project id {number}") from error


def _settings(body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The rules and the cron expression of a RetentionPolicy. Raises BadRequestError, or ConflictError."""
    if body.get("algorithm", "or") != "or":
        raise BadRequestError("the algorithm must be or")
    trigger = fields.mapping(body, "trigger")
    if trigger.get("kind", _SCHEDULE) != _SCHEDULE:
        raise BadRequestError(f"not support Trigger {str(trigger.get('kind'))[:64]}")
    text = fields.text(fields.mapping(trigger, "settings"), "cron", "")
    given = body.get("rules")
    checked = rules.checked([] if given is None else given)
    same = rules.duplicate(checked)
    if same:
        raise ConflictError(f"rule {same[0]} is conflict with rule {same[1]}")
    return checked, text.strip()


def _to_json(policy: Policy) -> dict[str, Any]:
    """The swagger's RetentionPolicy."""
    settings: dict[str, Any] = {"cron": policy.cron}
    if policy.cron:
        settings["next_scheduled_time"] = fields.time(cron.parse(policy.cron).next(now()))
    return {
        "id": policy.number,
        "algorithm": "or",
        "rules": list(policy.rules),
        "trigger": {"kind": _SCHEDULE, "settings": settings, "references": {}},
        "scope": {"level": "project", "ref": policy.project_id},
    }


def _execution_to_json(execution: Execution) -> dict[str, Any]:
    """The swagger's RetentionExecution."""
    return {
        "id": execution.number,
        "policy_id": execution.vendor_id,
        "start_time": fields.time(execution.started),
        **({"end_time": fields.time(execution.ended)} if execution.ended else {}),
        "status": execution.status,
        "trigger": execution.trigger,
        "dry_run": execution.extra["dry_run"],
    }


def _task_to_json(execution: Execution, task: Task) -> dict[str, Any]:
    """The swagger's RetentionExecutionTask. As in Harbor the repository is named below its project."""
    status = task.status_in(execution)
    return {
        "id": task.number,
        "execution_id": execution.number,
        "repository": task.extra["repository"].partition("/")[2],
        "job_id": task.job_id,
        "status": status,
        "status_code": status.code,
        "status_revision": task.updated,
        "start_time": fields.time(task.started or task.created),
        **({"end_time": fields.time(task.ended)} if task.ended else {}),
        "total": task.extra.get("total", 0),
        "retained": task.extra.get("retained", 0),
    }


def _selector_metadata(text: str, decorations: tuple[str, ...]) -> dict[str, Any]:
    return {"display_text": text, "kind": selectors.KIND, "decorations": list(decorations)}
