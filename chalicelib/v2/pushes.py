"""Answers to pushes and deletes of manifests, and to deletes of blobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chalicelib.access.authentication import Caller, actor_of
from chalicelib.http import Request, Response
from chalicelib.oci import digests, names
from chalicelib.oci.errors import Denied, NameUnknown
from chalicelib.oci.names import Target, project_of
from chalicelib.projects import rules
from chalicelib.registry import deletion, push
from chalicelib.registry.preconditions import Preconditions


def require_pushable(repository: str) -> int:
    """The number of the project that the request was let into.

    Raises Denied for a proxy project, as Harbor does (src/server/middleware/repoproxy/proxy.go), and NameUnknown.
    """
    project = rules.find(project_of(repository))
    if project is None:
        raise NameUnknown(f"the project of {repository} is gone")
    if project.is_proxy:
        raise Denied(f"can not push artifact to a proxy project: {project.name}")
    return project.project_id


def _put_manifest(request: Request, target: Target, caller: Caller) -> Response:
    project_id = require_pushable(target.repository)
    content_type = request.headers.get("content-type", "")
    pushed = push.manifest(
        target.repository,
        target.reference,
        request.body,
        content_type,
        actor_of(caller, request),
        digest=_digest(request),
        tags=[names.parse_tag(tag) for tag in request.values("tag")],
        preconditions=replace(Preconditions.of(request.headers), project_id=project_id),
    )
    headers = {
        "Location": f"/v2/{target.repository}/manifests/{pushed.digest}",
        "Docker-Content-Digest": pushed.digest,
    }
    if pushed.subject is not None:
        headers["OCI-Subject"] = pushed.subject
    if pushed.tags and target.reference not in pushed.tags:
        headers["OCI-Tag"] = ", ".join(pushed.tags)
    return Response(201, headers)


def _digest(request: Request) -> str:
    """The digest that a tag is to point at, when that is no sha256: regctl's way, from before `?tag=` was agreed on."""
    return digests.parse(request.query["digest"]) if request.query.get("digest") else ""


def _delete_manifest(request: Request, target: Target, caller: Caller) -> Response:
    preconditions = Preconditions.of(request.headers)
    deletion.manifest(target.repository, target.reference, actor_of(caller, request), preconditions=preconditions)
    return Response(202)


def _delete_blob(_request: Request, target: Target, _caller: Caller) -> Response:
    deletion.blob(target.repository, target.reference)
    return Response(202)


HANDLERS: dict[tuple[str, str], Callable[[Request, Target, Caller], Response]] = {
    ("manifest", "PUT"): _put_manifest,
    ("manifest", "DELETE"): _delete_manifest,
    ("blob", "DELETE"): _delete_blob,
}
