"""Harbor's tag `artifact`: the artifacts of a repository and their tags."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any

from chalicelib.access.roles import Permission
from chalicelib.api import PREFIX, artifact_json, fields
from chalicelib.api.errors import BadRequestError, ConflictError, MethodNotAllowedError
from chalicelib.api.guards import repository_name, require_other_project, require_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page, window
from chalicelib.api.query import Selection, selection
from chalicelib.artifacts import additions, copying, holdings, labels, repositories
from chalicelib.http import Response
from chalicelib.oci import digests, names
from chalicelib.oci.names import number_of
from chalicelib.projects.records import Project
from chalicelib.registry.store import artifacts as table
from chalicelib.registry.store import labels as label_table
from chalicelib.registry.store import listings
from chalicelib.registry.store.artifacts import Artifact
from chalicelib.registry.store.listings import Tagged

_FILTERS = (
    *("digest", "type", "media_type", "manifest_media_type", "artifact_type", "size"),
    *("push_time", "pull_time", "tags", "labels", "id", "repository_id", "repository_name"),
)
_SORTS = tuple(name for name in _FILTERS if name not in ("tags", "labels"))
_TAG_FIELDS = ("id", "repository_id", "artifact_id", "name", "push_time", "pull_time", "immutable")
_ACCESSORY_FIELDS = (
    *("id", "artifact_id", "subject_artifact_id", "subject_artifact_digest", "subject_artifact_repo"),
    *("type", "digest", "size", "creation_time"),
)
_MOST_CALLS = 32
"""Megabytes of artifacts that a filter or another order reads: some twenty thousand images."""

_BASE = "/projects/{project_name}/repositories/{repository_name}/artifacts"


@operation("GET", _BASE)
def list_artifacts(call: Call) -> Response:
    """The newest first, or as `sort` says. The pages of that order are read on their own; `q` reads all."""
    project = require_project(call, "artifact", "list")
    repository = repositories.get(repository_name(call))
    chosen = selection(call.request, _FILTERS, _SORTS)
    order = chosen.order or (("push_time", True),)
    if chosen.tests or order[0][0] != "push_time":
        part = page(call.request, chosen.of(_all(repository.name), _fields_of(chosen)))
        found, headers = part.entries, part.headers
    else:
        asked = window(call.request)
        found = table.read_page(repository.name, asked.start, asked.size, descending=order[0][1])
        headers = asked.headers(repository.artifacts)
    return json_response(artifact_json.of(call.request, project, found), headers=headers)


@operation("GET", "/projects/{project_name_or_id}/artifacts")
def list_project_artifacts(call: Call) -> Response:
    """By repository, the newest of each first; `q` and `sort` read all."""
    project = require_project(call, "artifact", "list")
    chosen = selection(call.request, _FILTERS, _SORTS)
    latest = fields.query_boolean(call.request.query, "latest_in_repository") is True
    if chosen.tests or chosen.order:
        everything = holdings.read_all(project.name, latest=latest)
        part = page(call.request, chosen.of(everything, _fields_of(chosen)))
        found, headers = part.entries, part.headers
    else:
        asked = window(call.request)
        read = holdings.latest_page if latest else holdings.page
        found, total = read(project.name, asked.start, asked.size)
        headers = asked.headers(total)
    return json_response(artifact_json.of(call.request, project, found), headers=headers)


@operation("POST", _BASE)
def copy_artifact(call: Call) -> Response:
    """From another repository, or the same: `from` is `<repository>:<tag>` or `<repository>@<digest>`."""
    project = require_project(call, "artifact", "create")
    if project.is_proxy:
        raise MethodNotAllowedError("the operation isn't supported for a proxy cache project")
    source, reference = _parse(call.request.query.get("from", ""))
    _require_source(call, project, names.project_of(source))
    copying.copy(call.actor, source, reference, repository_name(call))
    return Response(201, {"Location": f"{call.request.path}/{reference}"})


@operation("GET", f"{_BASE}/{{reference}}")
def get_artifact(call: Call) -> Response:
    project = require_project(call, "artifact", "read")
    return json_response(artifact_json.of(call.request, project, [_artifact(call)])[0])


@operation("DELETE", f"{_BASE}/{{reference}}")
def delete_artifact(call: Call) -> Response:
    require_project(call, "artifact", "delete")
    repositories.delete_artifact(repository_name(call), call.parameters["reference"], call.actor)
    return Response(200)


@operation("GET", f"{_BASE}/{{reference}}/tags")
def list_tags(call: Call) -> Response:
    project = require_project(call, "tag", "list")
    chosen = selection(call.request, _TAG_FIELDS, _TAG_FIELDS)
    artifact = _artifact(call)
    found = listings.tags_of(artifact.repository, artifact.digest)
    tags = [artifact_json.tag(project, artifact, each) for each in found]
    part = page(call.request, chosen.of(tags, dict))
    return json_response(part.entries, headers=part.headers)


@operation("POST", f"{_BASE}/{{reference}}/tags")
def create_tag(call: Call) -> Response:
    project = require_project(call, "tag", "create")
    name = fields.text(json_body(call.request), "name")
    if not names.is_tag(name):
        raise BadRequestError("a tag has up to 128 letters, digits, '_', '.' and '-'; the first is none of these two")
    repository = repository_name(call)
    if not repositories.add_tag(repository, call.parameters["reference"], name, call.actor):
        raise ConflictError(f"tag {name} already exists")
    path = f"{PREFIX}/projects/{project.name}/repositories/{repository.partition('/')[2].replace('/', '%252F')}"
    return Response(201, {"Location": f"{path}/artifacts/{call.parameters['reference']}/tags/{name}"})


@operation("DELETE", f"{_BASE}/{{reference}}/tags/{{tag_name}}")
def delete_tag(call: Call) -> Response:
    require_project(call, "tag", "delete")
    reference, tag = call.parameters["reference"], call.parameters["tag_name"]
    repositories.delete_tag(repository_name(call), reference, tag, call.actor)
    return Response(200)


@operation("POST", f"{_BASE}/{{reference}}/labels")
def add_label(call: Call) -> Response:
    project = require_project(call, "artifact-label", "create")
    number = fields.number(json_body(call.request), "id")
    labels.attach(number, project.project_id, _artifact(call))
    return Response(200)


@operation("DELETE", f"{_BASE}/{{reference}}/labels/{{label_id}}")
def remove_label(call: Call) -> Response:
    require_project(call, "artifact-label", "delete")
    labels.detach(fields.identifier(call.parameters, "label_id"), _artifact(call))
    return Response(200)


@operation("GET", f"{_BASE}/{{reference}}/accessories")
def list_accessories(call: Call) -> Response:
    require_project(call, "accessory", "list")
    chosen = selection(call.request, _ACCESSORY_FIELDS, _ACCESSORY_FIELDS)
    artifact = _artifact(call)
    accessories = table.accessories_of(artifact.repository, artifact.digest, most_calls=_MOST_CALLS)
    found = [artifact_json.accessory(each) for each in accessories]
    part = page(call.request, chosen.of(found, dict))
    return json_response(part.entries, headers=part.headers)


@operation("GET", f"{_BASE}/{{reference}}/additions/vulnerabilities", missing="scanners")
def get_vulnerabilities_addition(call: Call) -> Response:
    """As in Harbor, nothing where an artifact was not scanned: scripts that look for reports ask this of every one."""
    require_project(call, "artifact-addition", "read")
    _artifact(call)
    return json_response({})


@operation("GET", f"{_BASE}/{{reference}}/additions/{{addition}}")
def get_addition(call: Call) -> Response:
    require_project(call, "artifact-addition", "read")
    artifact, name = _artifact(call), call.parameters["addition"].lower()
    if name == "sbom":
        return json_response({})  # as for vulnerabilities: scanners make them
    found = additions.get(artifact, name)
    return Response(200, {"Content-Type": found.media_type}, found.content)


def _require_source(call: Call, target: Project, name: str) -> None:
    """That the caller may copy from the project `name` to `target`. Raises as `require_project` does.

    Harbor asks for artifact:read. What is copied can be pulled from the target then, so from another project Berth asks
    for what a pull of it needs, too.
    """
    needed = [Permission("artifact", "read")]
    if name != target.name:
        needed.append(Permission("repository", "pull"))
    require_other_project(call, name, *needed)


def _parse(text: str) -> tuple[str, str]:
    """A repository and a tag or digest. Raises BadRequestError."""
    repository, _, reference = text.partition("@") if "@" in text else text.rpartition(":")
    is_reference = digests.is_digest(reference) if "@" in text else names.is_tag(reference)
    if not (names.is_repository(repository) and is_reference):
        raise BadRequestError("from must be <project>/<repository>:<tag> or <project>/<repository>@<digest>")
    return repository, reference


def _all(repository: str) -> list[Artifact]:
    return table.read_all(repository, most_calls=_MOST_CALLS)


def _artifact(call: Call) -> Artifact:
    return repositories.artifact(repository_name(call), call.parameters["reference"])


def _fields_of(chosen: Selection) -> Callable[[Artifact], dict[str, Any]]:
    """What `q` and `sort` can name of an artifact; tags and labels of a repository are read once, if they are asked."""
    tags_in = cache(listings.tags_by_digest if "tags" in chosen.tests else _none)
    labels_in = cache(label_table.numbers_by_digest if "labels" in chosen.tests else _none)

    def fields_of(artifact: Artifact) -> dict[str, Any]:
        tags, carried = tags_in(artifact.repository), labels_in(artifact.repository)
        return _fields(artifact, tags.get(artifact.digest, []), carried.get(artifact.digest, []))

    return fields_of


def _none(_repository: str) -> Mapping[str, Any]:
    return {}


def _fields(artifact: Artifact, tags: Sequence[Tagged], carried: Collection[int]) -> dict[str, Any]:
    return {
        **artifact.summary,
        "id": artifact_json.number(artifact, artifact.digest),
        "repository_id": number_of(artifact.repository),
        "repository_name": artifact.repository,
        "digest": artifact.digest,
        "push_time": fields.comparable_time(artifact.pushed),
        "pull_time": None if artifact.pulled is None else fields.comparable_time(artifact.pulled),
        "tags": [tag.name for tag in tags],
        "labels": list(carried),
    }
