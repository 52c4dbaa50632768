"""Harbor's operations of which nothing is built yet: each answers as itself, to who might use it.

Without them here a scan would be looked for as a repository named `app/artifacts/v1/scan`. What a client asks for by a
name or a number is not there (404); of what there is none, lists are empty; what cannot be done is not implemented
(501, RFC 9110 section 15.6.2: unlike other faults of a server it is not worth a retry). All say what is missing.
Rights are as in Harbor (src/server/v2.0/handler).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from chalicelib.api import fields
from chalicelib.api.errors import ApiError, NotFoundError
from chalicelib.api.guards import require_account, require_project, require_system
from chalicelib.api.operations import Call, Handler, json_body, json_response, operation
from chalicelib.api.paging import window
from chalicelib.http import Response

Check = Callable[[Call], object]
Row = tuple[str, str, Check, Any]
"""Method, path, who may ask, and what is answered: content, ABSENT or UNDOABLE."""

ABSENT, UNDOABLE = object(), object()


class NotBuiltError(ApiError):
    """What would have to be done for this, nothing in Berth does."""

    code: ClassVar[str] = "NOT_IMPLEMENTED"
    status: ClassVar[int] = 501


def _system(resource: str, action: str) -> Check:
    return lambda call: require_system(call.caller, resource, action)


def _project(resource: str, action: str) -> Check:
    return lambda call: require_project(call, resource, action)


def _account(call: Call) -> None:
    require_account(call.caller)


def _anybody(_call: Call) -> None:
    pass


_ARTIFACT = "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}"
_SCANNER = "/scanners/{registration_id}"
_SCAN_ALL = "/system/scanAll/schedule"
_NO_SCANS = {"total": 0, "completed": 0, "metrics": {}, "ongoing": False}
_COUNTED = ("critical", "high", "medium", "low", "none", "unknown", "scanned", "fixable")
_NO_VULNERABILITIES = {"total_vuls": 0, "total_artifact": 0, **{f"{name}_cnt": 0 for name in _COUNTED}}

_SCANNERS: list[Row] = [
    ("GET", "/projects/{project_name_or_id}/scanner", _project("scanner", "read"), {}),
    ("PUT", "/projects/{project_name_or_id}/scanner", _project("scanner", "create"), UNDOABLE),
    ("GET", "/projects/{project_name_or_id}/scanner/candidates", _project("scanner", "create"), []),
    ("POST", f"{_ARTIFACT}/scan", _project("scan", "create"), UNDOABLE),
    ("POST", f"{_ARTIFACT}/scan/stop", _project("scan", "stop"), UNDOABLE),
    ("GET", f"{_ARTIFACT}/scan/{{report_id}}/log", _project("scan", "read"), ABSENT),
    ("GET", "/scans/all/metrics", _system("scan-all", "read"), _NO_SCANS),
    ("GET", "/scans/schedule/metrics", _system("scan-all", "read"), _NO_SCANS),
    ("GET", _SCAN_ALL, _system("scan-all", "read"), {}),
    ("POST", "/system/scanAll/stop", _system("scan-all", "stop"), UNDOABLE),
    ("GET", "/scanners", _system("scanner", "list"), []),
    ("POST", "/scanners", _system("scanner", "create"), UNDOABLE),
    ("POST", "/scanners/ping", _system("scanner", "read"), UNDOABLE),
    ("GET", _SCANNER, _system("scanner", "read"), ABSENT),
    ("PUT", _SCANNER, _system("scanner", "update"), ABSENT),
    ("DELETE", _SCANNER, _system("scanner", "delete"), ABSENT),
    ("PATCH", _SCANNER, _system("scanner", "update"), ABSENT),
    ("GET", f"{_SCANNER}/metadata", _system("scanner", "read"), ABSENT),
    ("POST", "/export/cve", _account, UNDOABLE),
    ("GET", "/export/cve/execution/{execution_id}", _account, ABSENT),
    ("GET", "/export/cve/executions", _account, {"items": []}),
    ("GET", "/export/cve/download/{execution_id}", _account, ABSENT),
    ("GET", "/security/summary", _system("security-hub", "read"), _NO_VULNERABILITIES),
    ("GET", "/security/vul", _system("security-hub", "list"), []),
]

_INSTANCE = "/p2p/preheat/instances/{preheat_instance_name}"
_PREHEAT = "/projects/{project_name}/preheat/policies"
_PREHEAT_POLICY = f"{_PREHEAT}/{{preheat_policy_name}}"
_PREHEAT_EXECUTION = f"{_PREHEAT_POLICY}/executions/{{execution_id}}"

_PREHEATING: list[Row] = [
    ("GET", "/p2p/preheat/providers", _system("preheat-instance", "list"), []),
    ("POST", "/p2p/preheat/instances/ping", _system("preheat-instance", "read"), UNDOABLE),
    ("GET", "/p2p/preheat/instances", _system("preheat-instance", "list"), []),
    ("POST", "/p2p/preheat/instances", _system("preheat-instance", "create"), UNDOABLE),
    ("GET", _INSTANCE, _system("preheat-instance", "read"), ABSENT),
    ("DELETE", _INSTANCE, _system("preheat-instance", "delete"), ABSENT),
    ("PUT", _INSTANCE, _system("preheat-instance", "update"), ABSENT),
    ("POST", _PREHEAT, _project("preheat-policy", "create"), UNDOABLE),
    ("GET", _PREHEAT, _project("preheat-policy", "list"), []),
    ("GET", _PREHEAT_POLICY, _project("preheat-policy", "read"), ABSENT),
    ("PUT", _PREHEAT_POLICY, _project("preheat-policy", "update"), ABSENT),
    ("POST", _PREHEAT_POLICY, _project("preheat-policy", "update"), ABSENT),
    ("DELETE", _PREHEAT_POLICY, _project("preheat-policy", "delete"), ABSENT),
    ("GET", f"{_PREHEAT_POLICY}/executions", _project("preheat-policy", "read"), ABSENT),
    ("GET", _PREHEAT_EXECUTION, _project("preheat-policy", "read"), ABSENT),
    ("PATCH", _PREHEAT_EXECUTION, _project("preheat-policy", "update"), ABSENT),
    ("GET", f"{_PREHEAT_EXECUTION}/tasks", _project("preheat-policy", "read"), ABSENT),
    ("GET", f"{_PREHEAT_EXECUTION}/tasks/{{task_id}}/logs", _project("preheat-policy", "read"), ABSENT),
    ("GET", "/projects/{project_name}/preheat/providers", _project("preheat-policy", "read"), []),
]

_POLICY = "/replication/policies/{id}"
_EXECUTION = "/replication/executions/{id}"

_REPLICATION: list[Row] = [
    ("GET", "/replication/policies", _system("replication-policy", "list"), []),
    ("POST", "/replication/policies", _system("replication-policy", "create"), UNDOABLE),
    ("GET", _POLICY, _system("replication-policy", "read"), ABSENT),
    ("DELETE", _POLICY, _system("replication-policy", "delete"), ABSENT),
    ("PUT", _POLICY, _system("replication-policy", "update"), ABSENT),
    ("GET", "/replication/executions", _system("replication", "list"), []),
    ("POST", "/replication/executions", _system("replication", "create"), UNDOABLE),
    ("GET", _EXECUTION, _system("replication", "read"), ABSENT),
    ("PUT", _EXECUTION, _system("replication", "create"), ABSENT),
    ("GET", f"{_EXECUTION}/tasks", _system("replication", "list"), ABSENT),
    ("GET", f"{_EXECUTION}/tasks/{{task_id}}/log", _system("replication", "read"), ABSENT),
]

_LDAP: list[Row] = [
    ("POST", "/ldap/ping", _system("configuration", "read"), UNDOABLE),
    ("GET", "/ldap/users/search", _system("ldap-user", "list"), UNDOABLE),
    ("POST", "/ldap/users/import", _system("ldap-user", "create"), UNDOABLE),
    ("GET", "/ldap/groups/search", _system("ldap-user", "list"), UNDOABLE),
]


@operation("PUT", _SCAN_ALL, missing="scanners")
def update_scan_all_schedule(call: Call) -> Response:
    require_system(call.caller, "scan-all", "update")
    _require_none(call)
    return Response(200)


@operation("POST", _SCAN_ALL, missing="scanners")
def create_scan_all_schedule(call: Call) -> Response:
    require_system(call.caller, "scan-all", "create")
    _require_none(call)
    return Response(201, {"Location": call.request.path})


def _require_none(call: Call) -> None:
    """That no schedule at all is asked for, as Terraform does to take one away. Raises NotBuiltError."""
    if fields.mapping(json_body(call.request), "schedule").get("type") not in ("", "None"):
        raise NotBuiltError(_message("scanners"))


def _message(feature: str) -> str:
    return f"not built in Berth yet: {feature}"


def _register(feature: str, rows: Iterable[Row]) -> None:
    for method, path, check, answer in rows:
        operation(method, path, missing=feature)(_handler(feature, check, answer))


def _handler(feature: str, check: Check, answer: Any) -> Handler:
    def handle(call: Call) -> Response:
        check(call)
        if answer is ABSENT:
            raise NotFoundError(_message(feature))
        if answer is UNDOABLE:
            raise NotBuiltError(_message(feature))
        return json_response(answer, headers=window(call.request).headers(0) if answer == [] else {})

    return handle


_register("scanners", _SCANNERS)
_register("preheating", _PREHEATING)
_register("replication", _REPLICATION)
_register("the console", [("GET", "/icons/{digest}", _anybody, ABSENT)])
_register("LDAP", _LDAP)
