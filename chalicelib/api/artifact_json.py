"""The swagger's Artifact, Tag and Accessory, of what the table holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chalicelib.api import PREFIX, fields, label
from chalicelib.artifacts import additions, repositories
from chalicelib.http import Request
from chalicelib.oci.names import number_of
from chalicelib.projects import immutability
from chalicelib.projects.records import Project
from chalicelib.registry.store import artifacts as table
from chalicelib.registry.store import labels as label_table
from chalicelib.registry.store import listings
from chalicelib.registry.store.artifacts import Artifact
from chalicelib.registry.store.listings import Tagged

T = TypeVar("T")

_SIDE_BY_SIDE = 8
_SHOWN_TAGS, _SHOWN_ACCESSORIES = 1000, 100
"""Of each artifact: whoever pushes may make any number of them. Those of one alone have lists with pages."""
_FLAGS = ("with_scan_overview", "with_sbom_overview", "with_signature", "with_immutable_status")
"""Nothing is scanned yet, accessories show what is signed, and a tag always says whether it is immutable."""


def of(request: Request, project: Project, artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """The artifacts with what the query's flags ask for. Raises BadRequestError for a flag that is none."""
    query = request.query
    for flag in _FLAGS:
        fields.query_boolean(query, flag)
    allowance = additions.Allowance()
    extras = _side_by_side(lambda each: additions.extra_attributes(each, allowance), artifacts)
    entries = [_artifact(project, each, extra) for each, extra in zip(artifacts, extras, strict=True)]
    # As in Harbor, a list that is asked for and empty is null.
    if fields.query_boolean(query, "with_tag") is not False:
        for artifact, entry, tags in zip(artifacts, entries, _of_each(_tags_of, artifacts), strict=True):
            entry["tags"] = [tag(project, artifact, each) for each in tags] or None
    if fields.query_boolean(query, "with_label"):
        for entry, carried in zip(entries, _of_each(label_table.labels_of, artifacts), strict=True):
            entry["labels"] = [label.to_json(each) for each in carried] or None
    if fields.query_boolean(query, "with_accessory"):
        for entry, found in zip(entries, _of_each(_accessories_of, artifacts), strict=True):
            entry["accessories"] = [accessory(each) for each in found] or None
    if fields.query_boolean(query, "with_inherited_accessory"):
        inherited = _of_each(repositories.inherited_signatures, artifacts)
        for entry, found in zip(entries, inherited, strict=True):
            entry.update({"inherited_accessories": [accessory(each) for each in found]} if found else {})
    return entries


def tag(project: Project, artifact: Artifact, tagged: Tagged) -> dict[str, Any]:
    return {
        "id": number_of(f"{artifact.repository}:{tagged.name}"),
        "repository_id": number_of(artifact.repository),
        "artifact_id": number(artifact, artifact.digest),
        "name": tagged.name,
        "push_time": fields.time(tagged.updated),
        "pull_time": fields.time_or_never(tagged.pulled),
        "immutable": immutability.is_immutable(project, artifact.repository, tagged.name),
    }


def accessory(artifact: Artifact) -> dict[str, Any]:
    """An artifact that is an accessory, as its subject shows it. Raises ValueError for one that is none."""
    about = artifact.accessory
    if about is None:
        raise ValueError(f"{artifact.digest} is no accessory")
    return {
        "id": number(artifact, artifact.digest),
        "artifact_id": number(artifact, artifact.digest),
        "subject_artifact_id": number(artifact, about.subject),
        "subject_artifact_digest": about.subject,
        "subject_artifact_repo": artifact.repository,
        "size": artifact.summary["size"],
        "digest": artifact.digest,
        "type": about.kind,
        "icon": "",
        "creation_time": fields.time(artifact.pushed),
    }


def _artifact(project: Project, artifact: Artifact, extra: Mapping[str, Any]) -> dict[str, Any]:
    summary = artifact.summary
    own = number(artifact, artifact.digest)
    references = summary.get("references") or []
    name = artifact.repository.partition("/")[2].replace("/", "%252F")
    base = f"{PREFIX}/projects/{project.name}/repositories/{name}/artifacts/{artifact.digest}/additions"
    links = {each: {"href": f"{base}/{each}", "absolute": False} for each in additions.names(artifact)}
    return {
        "id": own,
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
        "references": [{"parent_id": own, **each} for each in references],
        "addition_links": links,
        **({"extra_attrs": extra} if extra else {}),
    }


def number(artifact: Artifact, digest: str) -> int:
    """Of an artifact of the same repository, or this one."""
    return number_of(f"{artifact.repository}@{digest}")


def _tags_of(repository: str, digest: str) -> list[Tagged]:
    return listings.first_tags_of(repository, digest, _SHOWN_TAGS)


def _accessories_of(repository: str, digest: str) -> list[Artifact]:
    return table.first_accessories_of(repository, digest, _SHOWN_ACCESSORIES)


def _of_each(read: Callable[[str, str], list[T]], artifacts: Sequence[Artifact]) -> list[list[T]]:
    """What `read` gives for the repository and the digest of each."""
    return _side_by_side(lambda each: read(each.repository, each.digest), artifacts)


def _side_by_side(read: Callable[[Artifact], T], artifacts: Sequence[Artifact]) -> list[T]:
    if len(artifacts) < 2:
        return [read(each) for each in artifacts]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return list(pool.map(read, artifacts))
