"""Harbor's tag `projectMetadata`: the settings of a project, one by one.

Harbor keeps them as strings. What a setting means is for the part of Berth that obeys it; a policy that nothing would
enforce yet is refused, because to be told that it is on would be a false promise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.api.errors import BadRequestError, ConflictError, NotFoundError
from chalicelib.api.guards import require_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from chalicelib.registry.http import Response
from chalicelib.storage.retentions import RETENTION_ID

_BOOLEANS = frozenset({"public", "auto_scan", "auto_sbom_generation", "reuse_sys_cve_allowlist"})
_UNENFORCED = frozenset({"enable_content_trust", "enable_content_trust_cosign", "prevent_vul"})
_SEVERITIES = frozenset({"none", "low", "medium", "high", "critical"})


def of(project: Project) -> dict[str, str]:
    """The swagger's ProjectMetadata."""
    return {"public": "true" if project.public else "false", **project.metadata}


def settings_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The settings that a ProjectMetadata names; null is none. Raises BadRequestError.

    The number of a retention policy is none: the policy alone sets it, and clients send back what they got.
    """
    named = {name: value for name, value in metadata.items() if value is not None and name != RETENTION_ID}
    return {name: _checked(name, value) for name, value in named.items()}


@operation("GET", "/projects/{project_name_or_id}/metadatas/")
def list_project_metadatas(call: Call) -> Response:
    return json_response(of(require_project(call, "metadata", "list")))


@operation("POST", "/projects/{project_name_or_id}/metadatas/")
def add_project_metadatas(call: Call) -> Response:
    project = require_project(call, "metadata", "create")
    added = settings_of(json_body(call.request))
    if len(added) != 1:
        raise BadRequestError("one setting is added at a time")
    [name] = added
    if name in of(project):
        raise ConflictError(f"metadata {name} already exists")
    _save(call, project, {**of(project), **added})
    return Response(200)


@operation("GET", "/projects/{project_name_or_id}/metadatas/{meta_name}")
def get_project_metadata(call: Call) -> Response:
    project = require_project(call, "metadata", "read")
    name = call.parameters["meta_name"]
    return json_response({name: _present(project, name)})


@operation("PUT", "/projects/{project_name_or_id}/metadatas/{meta_name}")
def update_project_metadata(call: Call) -> Response:
    project = require_project(call, "metadata", "update")
    name = call.parameters["meta_name"]
    changed = settings_of(json_body(call.request))
    if set(changed) != {name}:
        raise BadRequestError(f"the body must hold {name} and nothing else")
    _present(project, name)
    _save(call, project, {**of(project), **changed})
    return Response(200)


@operation("DELETE", "/projects/{project_name_or_id}/metadatas/{meta_name}")
def delete_project_metadata(call: Call) -> Response:
    project = require_project(call, "metadata", "delete")
    name = call.parameters["meta_name"]
    _present(project, name)
    if name == RETENTION_ID:
        raise BadRequestError(f"{RETENTION_ID} goes with the retention policy")
    # As in Harbor, a project without the setting is private.
    _save(call, project, {"public": "false", **{each: value for each, value in of(project).items() if each != name}})
    return Response(200)


def _present(project: Project, name: str) -> str:
    metadata = of(project)
    if name not in metadata:
        raise NotFoundError(f"metadata {name[:64]} not found")
    return metadata[name]


def _save(call: Call, project: Project, settings: dict[str, str]) -> None:
    public = settings.pop("public") == "true"
    rules.update(project, public=public, metadata=settings, actor=call.actor)


def _checked(name: str, value: Any) -> str:
    if name == "severity":
        if value not in _SEVERITIES:
            raise BadRequestError(f"severity must be one of {', '.join(sorted(_SEVERITIES))}")
    elif name in _BOOLEANS | _UNENFORCED:
        if value not in ("true", "false"):
            raise BadRequestError(f'{name} must be "true" or "false"')
        if name in _UNENFORCED and value == "true":
            raise BadRequestError(f"{name} is not supported")
    else:
        raise BadRequestError(f"{name[:64]} is no setting that is supported")
    return str(value)
