"""Harbor's tag `artifact`: the artifacts of a repository and their tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chalicelib.api import PREFIX, fields, label
from chalicelib.api.errors import BadRequestError, ConflictError
from chalicelib.api.guards import repository_name, require_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page, window
from chalicelib.api.query import selection
from chalicelib.api.repository import number_of
from chalicelib.projects import immutability, labels, repositories
from chalicelib.projects.records import Project
from chalicelib.registry import names
from chalicelib.registry.http import Response
from chalicelib.storage import artifacts as table
from chalicelib.storage import labels as label_table
from chalicelib.storage import listings
from chalicelib.storage.artifacts import Artifact
from chalicelib.storage.listings import Tagged

_FILTERS = ("digest", "type", "media_type", "artifact_type", "tags")
_SORTS = ("push_time", "pull_time", "size", "type")
_TAG_FILTERS = ("name",)
_TAG_SORTS = ("name", "push_time", "pull_time")

T = TypeVar("T")

_SIDE_BY_SIDE = 8

_BASE = "/projects/{project_name}/repositories/{repository_name}/artifacts"


@operation("GET", _BASE)
def list_artifacts(call: Call) -> Response:
    """The newest first, or as `sort` says. The pages of that order are read on their own; `q` reads all."""
    project = require_project(call, "artifact", "list")
    repository = repositories.get(repository_name(call))
    chosen = selection(call.request, _FILTERS, _SORTS)
    order = chosen.order or (("push_time", True),)
    if chosen.tests or order[0][0] != "push_time":
        tags = listings.tags_by_digest(repository.name)
        entries = chosen.of(table.read_all(repository.name), lambda each: _fields(each, tags.get(each.digest, [])))
        part = page(call.request, entries)
        found, headers = part.entries, part.headers
    else:
        asked = window(call.request)
        found = table.read_page(repository.name, asked.start, asked.size, descending=order[0][1])
        headers = asked.headers(repository.manifests)
    return json_response(_to_json(call, project, found), headers=headers)


@operation("GET", f"{_BASE}/{{reference}}")
def get_artifact(call: Call) -> Response:
    project = require_project(call, "artifact", "read")
    return json_response(_to_json(call, project, [_artifact(call)])[0])


@operation("DELETE", f"{_BASE}/{{reference}}")
def delete_artifact(call: Call) -> Response:
    require_project(call, "artifact", "delete")
    repositories.delete_artifact(repository_name(call), call.parameters["reference"], call.actor)
    return Response(200)


@operation("GET", f"{_BASE}/{{reference}}/tags")
def list_tags(call: Call) -> Response:
    project = require_project(call, "tag", "list")
    chosen = selection(call.request, _TAG_FILTERS, _TAG_SORTS)
    artifact = _artifact(call)
    tags = [_tag_to_json(project, artifact, tag) for tag in listings.tags_of(artifact.repository, artifact.digest)]
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


def _artifact(call: Call) -> Artifact:
    return repositories.artifact(repository_name(call), call.parameters["reference"])


def _fields(artifact: Artifact, tags: Sequence[Tagged]) -> dict[str, Any]:
    """What `q` and `sort` can name."""
    return {
        **artifact.summary,
        "digest": artifact.digest,
        "push_time": artifact.pushed,
        "pull_time": artifact.pulled,
        "tags": [tag.name for tag in tags],
    }


def _to_json(call: Call, project: Project, artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """The swagger's Artifact, of several of one repository, with the tags and labels that the query asks for."""
    entries = [_artifact_to_json(project, each) for each in artifacts]
    query = call.request.query
    if fields.query_boolean(query, "with_tag") is not False:
        for artifact, entry, tags in zip(artifacts, entries, _of_each(listings.tags_of, artifacts), strict=True):
            # As in Harbor, an artifact without tags has null for them.
            entry["tags"] = [_tag_to_json(project, artifact, tag) for tag in tags] or None
    if fields.query_boolean(query, "with_label"):
        for entry, carried in zip(entries, _of_each(label_table.labels_of, artifacts), strict=True):
            entry["labels"] = [label.to_json(each) for each in carried] or None
    return entries


def _of_each(read: Callable[[str, str], list[T]], artifacts: Sequence[Artifact]) -> list[list[T]]:
    """What `read` gives for the repository and the digest of each, read side by side."""
    if len(artifacts) < 2:
        return [read(each.repository, each.digest) for each in artifacts]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return list(pool.map(lambda each: read(each.repository, each.digest), artifacts))


def _artifact_to_json(project: Project, artifact: Artifact) -> dict[str, Any]:
    summary = artifact.summary
    number = number_of(f"{artifact.repository}@{artifact.digest}")
    references = summary.get("references") or []
    return {
        "id": number,
        "project_id": project.project_id,
        "repository_id": number_of(artifact.repository),
        "repository_name": artifact.repository,
        "digest": artifact.digest,
        "type": summary["type"],
        "media_type": summary["media_type"],
        "manifest_media_type": summary["manifest_media_type"],
        "artifact_type": summary["artifact_type"],
        "size": summary["size"],
        "push_time": fields.time(artifact.pushed),
        "pull_time": fields.time_or_never(artifact.pulled),
        "annotations": summary.get("annotations") or {},
        "references": [{"parent_id": number, **each} for each in references],
    }


def _tag_to_json(project: Project, artifact: Artifact, tag: Tagged) -> dict[str, Any]:
    return {
        "id": number_of(f"{artifact.repository}:{tag.name}"),
        "repository_id": number_of(artifact.repository),
        "artifact_id": number_of(f"{artifact.repository}@{artifact.digest}"),
        "name": tag.name,
        "push_time": fields.time(tag.updated),
        "pull_time": fields.time_or_never(tag.pulled),
        "immutable": immutability.is_immutable(project, artifact.repository, tag.name),
    }
