"""Answers to pushes and deletes of manifests, and to deletes of blobs."""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.access.authentication import Caller, actor_of
from chalicelib.projects import rules
from chalicelib.registry import deletion, push
from chalicelib.registry.errors import Denied
from chalicelib.registry.http import Request, Response
from chalicelib.registry.names import Target, project_of


def require_pushable(repository: str) -> None:
    """Raises Denied for a proxy project, as Harbor does (src/server/middleware/repoproxy/proxy.go)."""
    project = rules.find(project_of(repository))
    if project is not None and project.is_proxy:
        raise Denied(f"can not push artifact to a proxy project: {project.name}")


def _put_manifest(request: Request, target: Target, caller: Caller) -> Response:
    require_pushable(target.repository)
    content_type = request.headers.get("content-type", "")
    pushed = push.manifest(target.repository, target.reference, request.body, content_type, actor_of(caller, request))
    headers = {
        "Location": f"/v2/{target.repository}/manifests/{pushed.digest}",
        "Docker-Content-Digest": pushed.digest,
    }
    if pushed.subject is not None:
        headers["OCI-Subject"] = pushed.subject
    return Response(201, headers)


def _delete_manifest(request: Request, target: Target, caller: Caller) -> Response:
    deletion.manifest(target.repository, target.reference, actor_of(caller, request))
    return Response(202)


def _delete_blob(_request: Request, target: Target, _caller: Caller) -> Response:
    deletion.blob(target.repository, target.reference)
    return Response(202)


HANDLERS: dict[tuple[str, str], Callable[[Request, Target, Caller], Response]] = {
    ("manifest", "PUT"): _put_manifest,
    ("manifest", "DELETE"): _delete_manifest,
    ("blob", "DELETE"): _delete_blob,
}
