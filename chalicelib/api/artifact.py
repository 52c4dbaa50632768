"""Harbor's tag `artifact`: the artifacts of a repository and their tags."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from chalicelib.api import PREFIX, artifact_json, fields
from chalicelib.api.errors import BadRequestError, ConflictError
from chalicelib.api.guards import repository_name, require_project
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page, window
from chalicelib.api.query import selection
from chalicelib.projects import labels, repositories
from chalicelib.registry import names
from chalicelib.registry.http import Response
from chalicelib.storage import artifacts as table
from chalicelib.storage import labels as label_table
from chalicelib.storage import listings
from chalicelib.storage.artifacts import Artifact
from chalicelib.storage.listings import Tagged

_FILTERS = (
    *("digest", "type", "media_type", "manifest_media_type", "artifact_type", "size"),
    *("push_time", "pull_time", "tags", "labels"),
)
_SORTS = ("push_time", "pull_time", "size", "type", "digest", "media_type")
_TAG_FILTERS = ("name",)
_TAG_SORTS = ("name", "push_time", "pull_time")
_ACCESSORY_FIELDS = ("id", "type", "digest", "size", "creation_time")

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
        carried = label_table.numbers_by_digest(repository.name) if "labels" in chosen.tests else {}
        entries = chosen.of(
            table.read_all(repository.name),
            lambda each: _fields(each, tags.get(each.digest, []), carried.get(each.digest, [])),
        )
        part = page(call.request, entries)
        found, headers = part.entries, part.headers
    else:
        asked = window(call.request)
        found = table.read_page(repository.name, asked.start, asked.size, descending=order[0][1])
        headers = asked.headers(repository.artifacts)
    return json_response(artifact_json.of(call.request, project, found), headers=headers)


@operation("GET", f"{_BASE}/{{reference}}")
def get_artifact(call: Call) -> Response:
    project = require_project(call, "artifact", "read")
    return json_response(artifact_json.of(call.request, project, [_artifact(call)])[0])


@operation("DELETE", f"{_BASE}/{{reference}}")
def delete_artifact(call: Call) -> Response:
    require_project(call, "artifact", "delete")
    repositories.delete_artifact(repository_name(call), call.parameters["reference"])
    return Response(200)


@operation("GET", f"{_BASE}/{{reference}}/tags")
def list_tags(call: Call) -> Response:
    project = require_project(call, "tag", "list")
    chosen = selection(call.request, _TAG_FILTERS, _TAG_SORTS)
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
    if not repositories.add_tag(repository, call.parameters["reference"], name):
        raise ConflictError(f"tag {name} already exists")
    path = f"{PREFIX}/projects/{project.name}/repositories/{repository.partition('/')[2].replace('/', '%252F')}"
    return Response(201, {"Location": f"{path}/artifacts/{call.parameters['reference']}/tags/{name}"})


@operation("DELETE", f"{_BASE}/{{reference}}/tags/{{tag_name}}")
def delete_tag(call: Call) -> Response:
    require_project(call, "tag", "delete")
    repositories.delete_tag(repository_name(call), call.parameters["reference"], call.parameters["tag_name"])
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
    found = [artifact_json.accessory(each) for each in table.accessories_of(artifact.repository, artifact.digest)]
    part = page(call.request, chosen.of(found, dict))
    return json_response(part.entries, headers=part.headers)


def _artifact(call: Call) -> Artifact:
    return repositories.artifact(repository_name(call), call.parameters["reference"])


def _fields(artifact: Artifact, tags: Sequence[Tagged], carried: Collection[int]) -> dict[str, Any]:
    """What `q` and `sort` can name."""
    return {
        **artifact.summary,
        "digest": artifact.digest,
        "push_time": fields.comparable_time(artifact.pushed),
        "pull_time": None if artifact.pulled is None else fields.comparable_time(artifact.pulled),
        "tags": [tag.name for tag in tags],
        "labels": list(carried),
    }
