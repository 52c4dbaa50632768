"""Harbor's tag `projectMetadata`: the settings of a project, one by one.

Harbor keeps them as strings (src/server/v2.0/handler/project_metadata.go). What a setting means is for the part of
Berth that obeys it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.api.errors import BadRequestError, ConflictError, NotFoundError
from chalicelib.api.guards import require_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.http import Response
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from chalicelib.proxycache import filters
from chalicelib.retention.store import RETENTION_ID

_BOOLEANS = frozenset(
    {
        "public",
        *Project.PULL_POLICIES,
        *("auto_scan", "auto_sbom_generation", "reuse_sys_cve_allowlist"),
        *("proxy_cache_local_on_not_found", "proxy_referrer_api"),
    }
)
_NUMBERS: dict[str, Callable[[int], bool]] = {
    "proxy_speed_kb": lambda _: True,
    "max_upstream_conn": lambda number: number == -1 or number > 0,
}
"""Each with what its values may be; -1 is no limit. They mean something for a proxy cache only."""
_NUMBER = re.compile(r"-?[0-9]{1,10}\Z")
_NUMBER_LIMIT = 2**31
_SEVERITIES = frozenset({"none", "low", "medium", "high", "critical"})
_KNOWN = frozenset({"severity", filters.PATTERN, filters.KIND, *_BOOLEANS, *_NUMBERS})


def of(project: Project) -> dict[str, str]:
    """The swagger's ProjectMetadata."""
    return {"public": "true" if project.public else "false", **project.metadata}


def settings_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The settings that a ProjectMetadata names; null is none. Raises BadRequestError.

    As in Harbor, what is unknown is dropped: clients are newer than the server, or older. The number of a retention
    policy is dropped too: the policy alone sets it, and clients send back what they got.
    """
    return _each_checked({name: value for name, value in metadata.items() if name in _KNOWN})


def _each_checked(metadata: Mapping[str, Any]) -> dict[str, str]:
    named = {name: value for name, value in metadata.items() if value is not None and name != RETENTION_ID}
    return {name: _checked(name, value) for name, value in named.items()}


def require_valid_filter(settings: Mapping[str, str], *, is_proxy: bool) -> None:
    """Return if what a project's filter of upstream repositories consists of fits together. Raises BadRequestError."""
    pattern, kind = settings.get(filters.PATTERN, ""), settings.get(filters.KIND, "")
    if (pattern or kind) and not is_proxy:
        raise BadRequestError(f"{filters.PATTERN} is for proxy cache projects")
    try:
        filters.require_valid(pattern, kind)
    except filters.FilterInvalidError as error:
        raise BadRequestError(f"invalid {filters.PATTERN}: {error}") from error


@operation("GET", "/projects/{project_name_or_id}/metadatas/")
def list_project_metadatas(call: Call) -> Response:
    return json_response(of(require_project(call, "metadata", "list")))


@operation("POST", "/projects/{project_name_or_id}/metadatas/")
def add_project_metadatas(call: Call) -> Response:
    project = require_project(call, "metadata", "create")
    added = _each_checked(json_body(call.request))
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
    _present(project, name)
    changed = _each_checked(json_body(call.request))
    if set(changed) != {name}:
        raise BadRequestError(f"the body must hold {name} and nothing else")
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
    require_valid_filter(settings, is_proxy=project.is_proxy)
    rules.update(project, public=public, metadata=settings, actor=call.actor)


def _is_allowed(name: str, number: int) -> bool:
    return -_NUMBER_LIMIT <= number < _NUMBER_LIMIT and _NUMBERS[name](number)


def _checked(name: str, value: Any) -> str:
    if name == "severity":
        if value not in _SEVERITIES:
            raise BadRequestError(f"severity must be one of {', '.join(sorted(_SEVERITIES))}")
    elif name in _BOOLEANS:
        if value not in ("true", "false"):
            raise BadRequestError(f'{name} must be "true" or "false"')
    elif name in _NUMBERS:
        if not (isinstance(value, str) and _NUMBER.match(value) and _is_allowed(name, int(value))):
            raise BadRequestError(f"{name} must be a number, as a string")
    elif name in (filters.PATTERN, filters.KIND):
        if not isinstance(value, str):
            raise BadRequestError(f"{name} must be a string")
    else:
        raise BadRequestError(f"{name[:64]} is no setting that is supported")
    return str(value)
