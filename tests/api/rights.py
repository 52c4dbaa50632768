"""Who may call which operation, as Harbor's handlers have it (src/server/v2.0/handler/*.go).

One entry an operation: the permission that its handler asks for by RequireProjectAccess or RequireSystemAccess, or what
stands in its place. It is written from Harbor's sources, not from Berth's guards, so that the two can disagree;
tests/api/test_rights.py calls each operation as everybody and compares.

Who builds an operation finds its entry here, or adds it: what the handler requires, and a body or a query when it
needs one to know which project is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chalicelib.access.roles import Permission
from tests.api.world import Place

Fill = Callable[[Place], Any]


@dataclass(frozen=True)
class Right:
    """What an operation requires."""

    kind: str
    """`project` and `system` need `permission` there; `login` any account, `user` one of a person, `own` the account
    itself or the permission in the system, `open` nothing, `nobody` what no account has."""
    permission: Permission | None = None
    body: Fill = field(default=lambda _: {})
    """Enough of a body to say which project is meant. What is wrong with it is refused after who may not send it."""
    query: Fill = field(default=lambda _: "")
    hidden: bool = False
    """Whether what may not be seen answers as what is missing, by 404: it is named by a number of its own."""


def project(resource: str, action: str, **more: Any) -> Right:
    return Right("project", Permission(resource, action), **more)


def system(resource: str, action: str, **more: Any) -> Right:
    return Right("system", Permission(resource, action), **more)


OPEN, LOGIN, USER, NOBODY = Right("open"), Right("login"), Right("user"), Right("nobody")

_PROJECT = "/projects/{project_name_or_id}"
_REPOSITORY = "/projects/{project_name}/repositories/{repository_name}"
_ARTIFACT = f"{_REPOSITORY}/artifacts/{{reference}}"
_RETENTION = "/retentions/{id}"
_PREHEAT = "/projects/{project_name}/preheat/policies"
_PREHEAT_POLICY = f"{_PREHEAT}/{{preheat_policy_name}}"
_PREHEAT_EXECUTION = f"{_PREHEAT_POLICY}/executions/{{execution_id}}"


def _label(place: Place) -> dict[str, Any]:
    return {"scope": "p", "project_id": place.project.project_id, "name": ""}


def _robot(place: Place) -> dict[str, Any]:
    access = [{"resource": "repository", "action": "pull"}]
    grant = {"kind": "project", "namespace": place.project.name, "access": access}
    return {"level": "project", "name": "Not A Name", "duration": -1, "permissions": [grant]}


def _retention(place: Place) -> dict[str, Any]:
    return {"algorithm": "or", "rules": [], "scope": {"level": "project", "ref": place.project.project_id}}


def _of_project(text: str) -> Fill:
    return lambda place: text.format(place.project.project_id)


RIGHTS: dict[str, Right] = {
    "GET /health": OPEN,
    "GET /ping": OPEN,
    "GET /systeminfo": OPEN,
    "GET /systeminfo/getcert": OPEN,
    "GET /systeminfo/volumes": system("system-volumes", "read"),
    "GET /search": Right("open", query=lambda _: "q=nothing"),
    "GET /statistics": LOGIN,
    "GET /permissions": Right("project-admin"),
    # project.go
    "GET /projects": OPEN,
    "HEAD /projects": project("project", "read", query=lambda place: f"project_name={place.project.name}", hidden=True),
    "POST /projects": Right("project-creator"),
    f"GET {_PROJECT}": project("project", "read"),
    f"PUT {_PROJECT}": project("project", "update"),
    f"DELETE {_PROJECT}": project("project", "delete"),
    f"GET {_PROJECT}/_deletable": project("project", "delete"),
    f"GET {_PROJECT}/summary": project("project", "read"),
    f"GET {_PROJECT}/artifacts": project("artifact", "list"),
    "GET /projects/{project_name}/logs": project("log", "list"),
    "GET /projects/{project_name}/auditlog-exts": project("log", "list"),
    # project_metadata.go, member.go, immutable.go
    f"GET {_PROJECT}/metadatas/": project("metadata", "list"),
    f"POST {_PROJECT}/metadatas/": project("metadata", "create"),
    f"GET {_PROJECT}/metadatas/{{meta_name}}": project("metadata", "read"),
    f"PUT {_PROJECT}/metadatas/{{meta_name}}": project("metadata", "update"),
    f"DELETE {_PROJECT}/metadatas/{{meta_name}}": project("metadata", "delete"),
    f"GET {_PROJECT}/members": project("member", "list"),
    f"POST {_PROJECT}/members": project("member", "create"),
    f"GET {_PROJECT}/members/{{mid}}": project("member", "read"),
    f"PUT {_PROJECT}/members/{{mid}}": project("member", "update"),
    f"DELETE {_PROJECT}/members/{{mid}}": project("member", "delete"),
    f"GET {_PROJECT}/immutabletagrules": project("immutable-tag", "list"),
    f"POST {_PROJECT}/immutabletagrules": project("immutable-tag", "create"),
    f"PUT {_PROJECT}/immutabletagrules/{{immutable_rule_id}}": project("immutable-tag", "update"),
    f"DELETE {_PROJECT}/immutabletagrules/{{immutable_rule_id}}": project("immutable-tag", "delete"),
    # Berth's own: who may read and who may change a project
    f"GET {_PROJECT}/refreshes": project("project", "read"),
    f"GET {_PROJECT}/refreshes/{{refresh_id}}": project("project", "read"),
    f"PUT {_PROJECT}/refreshes/{{refresh_id}}": project("project", "update"),
    f"GET {_PROJECT}/refreshes/{{refresh_id}}/log": project("project", "read"),
    f"GET {_PROJECT}/refreshes/schedule": project("project", "read"),
    f"POST {_PROJECT}/refreshes/schedule": project("project", "update"),
    f"PUT {_PROJECT}/refreshes/schedule": project("project", "update"),
    # repository.go, artifact.go
    "GET /repositories": OPEN,
    "GET /projects/{project_name}/repositories": project("repository", "list"),
    f"GET {_REPOSITORY}": project("repository", "read"),
    f"PUT {_REPOSITORY}": project("repository", "update"),
    f"DELETE {_REPOSITORY}": project("repository", "delete"),
    f"GET {_REPOSITORY}/artifacts": project("artifact", "list"),
    f"POST {_REPOSITORY}/artifacts": project("artifact", "create", query=lambda place: f"from={place.source}"),
    f"GET {_ARTIFACT}": project("artifact", "read"),
    f"DELETE {_ARTIFACT}": project("artifact", "delete"),
    f"GET {_ARTIFACT}/tags": project("tag", "list"),
    f"POST {_ARTIFACT}/tags": project("tag", "create"),
    f"DELETE {_ARTIFACT}/tags/{{tag_name}}": project("tag", "delete"),
    f"POST {_ARTIFACT}/labels": project("artifact-label", "create"),
    f"DELETE {_ARTIFACT}/labels/{{label_id}}": project("artifact-label", "delete"),
    f"GET {_ARTIFACT}/accessories": project("accessory", "list"),
    f"GET {_ARTIFACT}/additions/vulnerabilities": project("artifact-addition", "read"),
    f"GET {_ARTIFACT}/additions/{{addition}}": project("artifact-addition", "read"),
    # label.go, robot.go: of a project
    "GET /labels": project("label", "list", query=_of_project("scope=p&project_id={}")),
    "POST /labels": project("label", "create", body=_label),
    "GET /labels/{label_id}": project("label", "read", hidden=True),
    "PUT /labels/{label_id}": project("label", "update", hidden=True),
    "DELETE /labels/{label_id}": project("label", "delete", hidden=True),
    "GET /robots": project("robot", "list", query=_of_project("q=Level%3Dproject,ProjectID%3D{}")),
    "POST /robots": project("robot", "create", body=_robot),
    "GET /robots/{robot_id}": project("robot", "read", hidden=True),
    "PUT /robots/{robot_id}": project("robot", "update", hidden=True, body=_robot),
    "PATCH /robots/{robot_id}": project("robot", "update", hidden=True),
    "DELETE /robots/{robot_id}": project("robot", "delete", hidden=True),
    # user.go
    "GET /users": system("user", "list"),
    "POST /users": system("user", "create"),
    "GET /users/current": LOGIN,
    "GET /users/current/permissions": LOGIN,
    "GET /users/search": LOGIN,
    "GET /users/{user_id}": system("user", "read"),
    "PUT /users/{user_id}": system("user", "update"),
    "DELETE /users/{user_id}": system("user", "delete"),
    "PUT /users/{user_id}/sysadmin": Right("administrator"),
    "PUT /users/{user_id}/password": Right("administrator"),
    "PUT /users/{user_id}/cli_secret": system("user", "update"),
    # cve_allowlist.go
    "GET /system/CVEAllowlist": LOGIN,
    "PUT /system/CVEAllowlist": Right("administrator"),
    # usergroup.go, config.go, oidc.go, quota.go
    "GET /usergroups": system("user-group", "list"),
    "POST /usergroups": system("user-group", "create"),
    "GET /usergroups/search": LOGIN,
    "GET /usergroups/{group_id}": system("user-group", "read"),
    "PUT /usergroups/{group_id}": system("user-group", "update"),
    "DELETE /usergroups/{group_id}": system("user-group", "delete"),
    "GET /configurations": system("configuration", "read"),
    "PUT /configurations": system("configuration", "update"),
    "GET /internalconfig": NOBODY,
    "POST /system/oidc/ping": system("configuration", "update"),
    "GET /quotas": system("quota", "list"),
    "GET /quotas/{id}": system("quota", "read"),
    "PUT /quotas/{id}": system("quota", "update"),
    # registry.go
    "POST /registries": system("registry", "create"),
    "GET /registries": system("registry", "list"),
    "POST /registries/ping": system("registry", "read"),
    "GET /registries/{id}": system("registry", "read"),
    "PUT /registries/{id}": system("registry", "update"),
    "DELETE /registries/{id}": system("registry", "delete"),
    "GET /registries/{id}/info": system("registry", "read"),
    "GET /replication/adapters": system("replication-adapter", "list"),
    "GET /replication/adapterinfos": system("replication-adapter", "list"),
    # auditlog.go, notification_policy.go, webhook.go
    "GET /audit-logs": USER,
    "GET /auditlog-exts": USER,
    "GET /auditlog-exts/events": LOGIN,
    f"GET {_PROJECT}/webhook/policies": project("notification-policy", "list"),
    f"POST {_PROJECT}/webhook/policies": project("notification-policy", "create"),
    f"GET {_PROJECT}/webhook/policies/{{webhook_policy_id}}": project("notification-policy", "read"),
    f"PUT {_PROJECT}/webhook/policies/{{webhook_policy_id}}": project("notification-policy", "update"),
    f"DELETE {_PROJECT}/webhook/policies/{{webhook_policy_id}}": project("notification-policy", "delete"),
    f"GET {_PROJECT}/webhook/policies/{{webhook_policy_id}}/executions": project("notification-policy", "read"),
    f"GET {_PROJECT}/webhook/policies/{{webhook_policy_id}}/executions/{{execution_id}}/tasks": project(
        "notification-policy", "read"
    ),
    f"GET {_PROJECT}/webhook/policies/{{webhook_policy_id}}/executions/{{execution_id}}/tasks/{{task_id}}/log": project(
        "notification-policy", "read"
    ),
    f"GET {_PROJECT}/webhook/lasttrigger": project("notification-policy", "read"),
    f"GET {_PROJECT}/webhook/events": project("notification-policy", "read"),
    f"GET {_PROJECT}/webhook/jobs": project("notification-policy", "list"),
    # retention.go
    "GET /retentions/metadatas": LOGIN,
    "POST /retentions": project("tag-retention", "create", body=_retention),
    f"GET {_RETENTION}": project("tag-retention", "read", hidden=True),
    f"PUT {_RETENTION}": project("tag-retention", "update", hidden=True, body=_retention),
    f"DELETE {_RETENTION}": project("tag-retention", "delete", hidden=True),
    f"POST {_RETENTION}/executions": project("tag-retention", "update", hidden=True),
    f"GET {_RETENTION}/executions": project("tag-retention", "list", hidden=True),
    f"PATCH {_RETENTION}/executions/{{eid}}": project("tag-retention", "update", hidden=True),
    f"GET {_RETENTION}/executions/{{eid}}/tasks": project("tag-retention", "list", hidden=True),
    f"GET {_RETENTION}/executions/{{eid}}/tasks/{{tid}}": project("tag-retention", "read", hidden=True),
    # schedule.go, jobservice.go, purge.go, gc.go
    "GET /schedules": system("jobservice-monitor", "list"),
    "GET /schedules/{job_type}/paused": LOGIN,
    "GET /jobservice/pools": system("jobservice-monitor", "list"),
    "GET /jobservice/pools/{pool_id}/workers": system("jobservice-monitor", "list"),
    "PUT /jobservice/jobs/{job_id}": system("jobservice-monitor", "stop"),
    "GET /jobservice/jobs/{job_id}/log": system("jobservice-monitor", "list"),
    "GET /jobservice/queues": system("jobservice-monitor", "list"),
    "PUT /jobservice/queues/{job_type}": system("jobservice-monitor", "stop"),
    "GET /system/purgeaudit": system("purge-audit", "list"),
    "GET /system/purgeaudit/{purge_id}": system("purge-audit", "read"),
    "PUT /system/purgeaudit/{purge_id}": system("purge-audit", "stop"),
    "GET /system/purgeaudit/{purge_id}/log": system("purge-audit", "read"),
    "GET /system/purgeaudit/schedule": system("purge-audit", "read"),
    "POST /system/purgeaudit/schedule": system("purge-audit", "create"),
    "PUT /system/purgeaudit/schedule": system("purge-audit", "update"),
    "GET /system/gc": system("garbage-collection", "list"),
    "GET /system/gc/{gc_id}": system("garbage-collection", "read"),
    "PUT /system/gc/{gc_id}": system("garbage-collection", "stop"),
    "GET /system/gc/{gc_id}/log": system("garbage-collection", "read"),
    "GET /system/gc/schedule": system("garbage-collection", "read"),
    "POST /system/gc/schedule": system("garbage-collection", "create"),
    "PUT /system/gc/schedule": system("garbage-collection", "update"),
    # icon.go
    "GET /icons/{digest}": OPEN,
    # scan.go, scanner.go, scan_all.go, scanexport.go, security.go
    f"GET {_PROJECT}/scanner": project("scanner", "read"),
    f"PUT {_PROJECT}/scanner": project("scanner", "create"),
    f"GET {_PROJECT}/scanner/candidates": project("scanner", "create"),
    f"POST {_ARTIFACT}/scan": project("scan", "create"),
    f"POST {_ARTIFACT}/scan/stop": project("scan", "stop"),
    f"GET {_ARTIFACT}/scan/{{report_id}}/log": project("scan", "read"),
    "GET /scans/all/metrics": system("scan-all", "read"),
    "GET /scans/schedule/metrics": system("scan-all", "read"),
    "GET /system/scanAll/schedule": system("scan-all", "read"),
    "PUT /system/scanAll/schedule": system("scan-all", "update"),
    "POST /system/scanAll/schedule": system("scan-all", "create"),
    "POST /system/scanAll/stop": system("scan-all", "stop"),
    "GET /scanners": system("scanner", "list"),
    "POST /scanners": system("scanner", "create"),
    "POST /scanners/ping": system("scanner", "read"),
    "GET /scanners/{registration_id}": system("scanner", "read"),
    "PUT /scanners/{registration_id}": system("scanner", "update"),
    "DELETE /scanners/{registration_id}": system("scanner", "delete"),
    "PATCH /scanners/{registration_id}": system("scanner", "update"),
    "GET /scanners/{registration_id}/metadata": system("scanner", "read"),
    "POST /export/cve": LOGIN,
    "GET /export/cve/execution/{execution_id}": LOGIN,
    "GET /export/cve/executions": LOGIN,
    "GET /export/cve/download/{execution_id}": LOGIN,
    "GET /security/summary": system("security-hub", "read"),
    "GET /security/vul": system("security-hub", "list"),
    # preheat.go
    "GET /p2p/preheat/providers": system("preheat-instance", "list"),
    "POST /p2p/preheat/instances/ping": system("preheat-instance", "read"),
    "GET /p2p/preheat/instances": system("preheat-instance", "list"),
    "POST /p2p/preheat/instances": system("preheat-instance", "create"),
    "GET /p2p/preheat/instances/{preheat_instance_name}": system("preheat-instance", "read"),
    "DELETE /p2p/preheat/instances/{preheat_instance_name}": system("preheat-instance", "delete"),
    "PUT /p2p/preheat/instances/{preheat_instance_name}": system("preheat-instance", "update"),
    f"POST {_PREHEAT}": project("preheat-policy", "create"),
    f"GET {_PREHEAT}": project("preheat-policy", "list"),
    f"GET {_PREHEAT_POLICY}": project("preheat-policy", "read"),
    f"PUT {_PREHEAT_POLICY}": project("preheat-policy", "update"),
    f"POST {_PREHEAT_POLICY}": project("preheat-policy", "update"),
    f"DELETE {_PREHEAT_POLICY}": project("preheat-policy", "delete"),
    f"GET {_PREHEAT_POLICY}/executions": project("preheat-policy", "read"),
    f"GET {_PREHEAT_EXECUTION}": project("preheat-policy", "read"),
    f"PATCH {_PREHEAT_EXECUTION}": project("preheat-policy", "update"),
    f"GET {_PREHEAT_EXECUTION}/tasks": project("preheat-policy", "read"),
    f"GET {_PREHEAT_EXECUTION}/tasks/{{task_id}}/logs": project("preheat-policy", "read"),
    "GET /projects/{project_name}/preheat/providers": project("preheat-policy", "read"),
    # replication.go
    "GET /replication/policies": system("replication-policy", "list"),
    "POST /replication/policies": system("replication-policy", "create"),
    "GET /replication/policies/{id}": system("replication-policy", "read"),
    "DELETE /replication/policies/{id}": system("replication-policy", "delete"),
    "PUT /replication/policies/{id}": system("replication-policy", "update"),
    "GET /replication/executions": system("replication", "list"),
    "POST /replication/executions": system("replication", "create"),
    "GET /replication/executions/{id}": system("replication", "read"),
    "PUT /replication/executions/{id}": system("replication", "create"),
    "GET /replication/executions/{id}/tasks": system("replication", "list"),
    "GET /replication/executions/{id}/tasks/{task_id}/log": system("replication", "read"),
    # ldap.go
    "POST /ldap/ping": system("configuration", "read"),
    "GET /ldap/users/search": system("ldap-user", "list"),
    "POST /ldap/users/import": system("ldap-user", "create"),
    "GET /ldap/groups/search": system("ldap-user", "list"),
}
